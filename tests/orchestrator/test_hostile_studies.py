import json
import os
import subprocess
import sys
from pathlib import Path

import hostile_studies
import pytest
from hostile_studies import FILES, NAMES, OVERRIDES, SOUND, refused, written
from toy_objective import ToyObjective

from orchestrator.errors import InputError, Problem
from orchestrator.loading import load_study
from orchestrator.logs import logging_to
from orchestrator.own_files import own_file


@pytest.fixture(scope="module")
def refusals():
    """What is said of every hostile file, by a process of little memory, in little time."""
    here = Path(hostile_studies.__file__)
    paths = [str(here.parents[2]), str(here.parent)]
    done = subprocess.run(
        [sys.executable, here],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_at_its_line(refusals, name):
    line, found, message = refusals[name]
    _, expected_line, expected = FILES[name]
    assert (line, found[: len(expected)]) == (expected_line, expected)
    assert "Nothing was launched." in message


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda text: ascii(text[:20]))
def test_a_hostile_override_is_refused(refusals, override):
    line, found, message = refusals[override]
    assert line is None
    assert found.startswith(OVERRIDES[override])
    assert "--set" in message


def test_messages_are_short_and_steer_no_terminal(refusals):
    for name, (_, _, message) in refusals.items():
        if name in FILES:  # the footer of an override repeats it
            assert len(message) < 60_000, name
        assert max(map(len, message.splitlines()[:-1])) < 900, name
        assert all(char.isprintable() or char == "\n" for char in message), name


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_that_could_leave_the_home_or_pass_for_others_are_refused(tmp_path, name):
    path = tmp_path / "a.yaml"
    path.write_text(written(name), encoding="utf-8")
    assert refused(path)[0] == 1
    if name not in ("A", "con", "lpt1"):  # which are labels, and no files
        path.write_text(f"{SOUND}ablate: {{{json.dumps(name)}: {{weight: 2.0}}}}\n")
        line, found, _ = refused(path)
        assert (line, found.endswith("is not a name for an ablation")) == (6, True)


def test_sound_neighbours_of_hostile_files_are_taken(tmp_path):
    path = tmp_path / "a.yaml"
    for name in ("a", "x" * 64, "console", "a.con", "0"):
        path.write_text(written(name))
        assert load_study(path, {"toy": ToyObjective()}).study == name
    path.write_text(hostile_studies.grid(10, 20))
    assert len(load_study(path, {"toy": ToyObjective()}).sweep) == 2
    path.write_text(SOUND.replace("{}", "{streams: 66666}") + "sweep: {weight: [1.0, 2.0, 3.0]}\n")
    assert load_study(path, {"toy": ToyObjective()}).base["streams"] == 66666


@pytest.mark.parametrize("make", ["pipe", "device"])
def test_what_never_ends_is_not_read(tmp_path, make):
    path = tmp_path / "a.yaml"
    if make == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InputError) as caught:
        load_study(path, {"toy": ToyObjective()})
    assert caught.value.problems == (Problem("", None, "is no regular file", "a YAML file"),)


def test_a_path_too_long_is_not_found(tmp_path):
    with pytest.raises(InputError) as caught:
        load_study(tmp_path / ("x" * 5000), {})
    assert caught.value.problems[0].found == "cannot be read: File name too long"


@pytest.mark.parametrize("leads_somewhere", [True, False])
def test_a_link_in_the_place_of_a_file_of_the_home_is_not_written_to(tmp_path, leads_somewhere):
    precious = tmp_path / "precious"
    if leads_somewhere:
        precious.write_text("as it was")
    link = tmp_path / "a.log"
    link.symlink_to(precious)
    with pytest.raises(InputError, match="is a link to"):
        own_file(link)
    with pytest.raises(InputError, match="is a link to"), logging_to(link):
        pass
    assert precious.exists() == leads_somewhere
    assert own_file(tmp_path / "other.log") == tmp_path / "other.log"
