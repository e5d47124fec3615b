"""`mpn train-editor`, as a user runs it, and `mpn run` on what it has trained."""

import os
import signal

import pytest

from studies.progress import StageProgress

STUDY = """\
study: learned
question: Is an editor trained once, and then used?
objective: edit_stream
base:
  backbone: {{name: {model}}}
  dataset: {{evaluation_examples: 6, neighbours: 1}}
  streams: {{count: 2, edits: 3, side_by_side: 1}}
  editor:
    name: lime
    hidden: 4
    training:
      languages: all
      examples: 12
      edits: 2
      others: 2
      optimizer: {{lr: 0.01, weight_decay: 0.0, max_steps: 6, plateau: null}}
  pairing: {{languages: 0, choice: fixed}}
sweep:
  pairing.languages: [0, 2]
measure:
  primary: cross_lingual_generality
"""


@pytest.fixture
def learned(tiny_model, tmp_path):
    path = tmp_path / "learned.yaml"
    path.write_text(STUDY.format(model=tiny_model))
    return path


def networks(mpn):
    folder = mpn.home / "cache" / "hypernetworks"
    return {path: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}


def test_an_editor_is_trained_once_and_a_study_uses_it(mpn, learned):
    printed = mpn("train-editor", learned)
    (network,) = networks(mpn)
    assert printed.startswith(f"lime: {network}, 6 steps, edit loss ")
    assert "open gates" in printed and printed.count("\n") == 1
    assert mpn("train-editor", learned).endswith("was there\n")
    before = networks(mpn)
    mpn("run", learned, "--executor", "inline")
    assert networks(mpn) == before
    assert "reliability" in mpn("table", "learned", "--format", "csv")


def test_a_study_trains_what_is_missing(mpn, learned):
    assert '"prepared": false' in mpn("plan", learned, "--json")
    mpn("run", learned, "--executor", "inline")
    assert len(networks(mpn)) == 1
    assert '"blocks_in_ledger": 4' in mpn("plan", learned, "--json")


def test_an_interrupted_training_is_continued(mpn, learned, monkeypatch):
    stage = StageProgress.stage

    def interrupt(self, name, done, total, remark=""):
        stage(self, name, done, total, remark)
        if done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(StageProgress, "stage", interrupt)
        said = mpn("train-editor", learned, code=130)
    assert "Interrupted at step 3 of 6 of lime" in str(said)
    assert not networks(mpn)
    assert "6 steps" in mpn("train-editor", learned)


def test_a_study_without_such_editors_has_nothing_to_train(mpn, study):
    assert mpn("train-editor", study) == (
        "small has no editor that is trained first: nothing to train.\n"
    )
