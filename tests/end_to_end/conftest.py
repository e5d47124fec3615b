"""A small study on a tiny model, and the command line as a user runs it."""

from pathlib import Path

import pytest
from command_line import CommandLine
from small_study import write_study

SWEEP = {"pairing.languages": [0, 2, 5]}


@pytest.fixture(scope="session")
def study(tiny_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    often = {"checkpoint_every_s": 1.0}
    return write_study(folder, steps=60, backbone=tiny_model, sweep=SWEEP, resources=often)


@pytest.fixture(scope="session")
def slow_study(tiny_model, tmp_path_factory) -> Path:
    """The same, with a checkpoint after every edit, and edits long enough to be killed in."""
    folder = tmp_path_factory.mktemp("study")
    return write_study(folder, steps=600, backbone=tiny_model, sweep=SWEEP)


@pytest.fixture(scope="session")
def undisturbed(slow_study, tmp_path_factory) -> CommandLine:
    """A home in which the slow study ran inline, without interruption."""
    mpn = CommandLine(tmp_path_factory.mktemp("undisturbed"))
    mpn("run", slow_study, "--executor", "inline")
    return mpn


@pytest.fixture
def mpn(tmp_path) -> CommandLine:
    return CommandLine(tmp_path / "home")
