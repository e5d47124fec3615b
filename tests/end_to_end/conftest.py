"""A small study on a tiny model, and the command line as a user runs it."""

from pathlib import Path

import pytest
from command_line import CommandLine

STUDY = """\
study: small
question: Does anything change when nothing should?
objective: edit_stream
base:
  backbone: {{name: {model}}}
  dataset: {{evaluation_examples: 6, neighbours: 1}}
  streams: {{count: 2, edits: 6, protocol: sequential, side_by_side: 1}}
  editor:
    memory: {{weight: 0.001, size: 60}}
    optimizer: {{lr: 0.05, max_steps: {steps}}}
    stop: {{when: never}}
    value_init: zero
    dropout: null
  pairing: {{languages: 0}}
sweep:
  pairing.languages: [0, 2, 5]
measure:
  primary: cross_lingual_generality
  guard: [locality, edit_retention]
resources: {{checkpoint_every_s: {every_s}}}
"""


@pytest.fixture(scope="session")
def study(tiny_model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("study") / "small.yaml"
    path.write_text(STUDY.format(model=tiny_model, steps=60, every_s=1.0))
    return path


@pytest.fixture(scope="session")
def slow_study(tiny_model, tmp_path_factory) -> Path:
    """The same, with a checkpoint after every edit, and edits long enough to be killed in."""
    path = tmp_path_factory.mktemp("study") / "slow.yaml"
    path.write_text(STUDY.format(model=tiny_model, steps=600, every_s=0.0))
    return path


@pytest.fixture(scope="session")
def undisturbed(slow_study, tmp_path_factory) -> CommandLine:
    """A home in which the slow study ran inline, without interruption."""
    mpn = CommandLine(tmp_path_factory.mktemp("undisturbed"))
    mpn("run", slow_study, "--executor", "inline")
    return mpn


@pytest.fixture
def mpn(tmp_path) -> CommandLine:
    return CommandLine(tmp_path / "home")
