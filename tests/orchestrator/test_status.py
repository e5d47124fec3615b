from pathlib import Path

import pytest
from filelock import FileLock
from sweep_lab import Killed, Lab, study

from orchestrator.status import study_status

GRID = study(sweep={"weight": [1.0, 2.0, 3.0]})  # 3 trials of 2 blocks of 3 units


@pytest.fixture
def lab(tmp_path, optuna_db):
    return Lab(tmp_path)


def status_of(lab):
    return study_status("a", lab.memory, lab.home)


def counts(**states):
    return {"waiting": 0, "running": 0, "complete": 0, "failed": 0, "pruned": 0} | states


def test_a_study_that_is_done_is_complete(lab):
    lab.run(GRID)
    status = status_of(lab)
    assert (status["study"], status["state"]) == ("a", "done")
    assert status["trials"] == counts(complete=3)
    assert status["blocks"] == counts(complete=6)


def test_figures_of_the_last_run_name_the_unit(lab):
    lab.run(GRID)
    last = status_of(lab)["last_run"]
    assert sorted(last) == [
        "actors", "blocks_executed", "blocks_reused", "model_loads", "numbers_per_s",
        "numbers_spared",
    ]  # fmt: skip
    assert last["blocks_executed"] == 6
    assert last["numbers_per_s"] > 0


def test_what_an_interrupted_study_has_left_waits(lab):
    lab.stop_at = 8  # the first trial is complete, the second has one unit of its first block
    lab.run(GRID)
    status = status_of(lab)
    assert status["state"] == "interrupted"
    assert status["trials"] == counts(complete=1, waiting=2)
    assert status["blocks"] == counts(complete=2, waiting=4)


def test_a_study_whose_driver_was_killed_is_interrupted(lab):
    lab.kill_at = 10  # three blocks are complete
    with pytest.raises(Killed):
        lab.run(GRID)
    assert lab.memory["state"] == "running"
    status = status_of(lab)
    assert status["state"] == "interrupted"
    assert status["trials"] == counts(complete=1, waiting=2)
    assert status["blocks"] == counts(complete=3, waiting=3)
    assert status["last_run"] == {}


def test_a_study_whose_driver_lives_is_running(lab):
    lab.kill_at = 10
    with pytest.raises(Killed):
        lab.run(GRID)
    memory = lab.memory
    memory["trials"][1]["state"] = "running"
    with FileLock(lab.home.path / "locks" / "a.lock", timeout=0):
        status = study_status("a", memory, lab.home)
    assert status["state"] == "running"
    assert status["trials"] == counts(complete=1, running=1, waiting=1)
    assert status["blocks"] == counts(complete=3, running=1, waiting=2)


def test_failed_trials_are_counted_with_the_blocks_they_lack(lab):
    lab.run(study(sweep={"raise_at": [None, 1]}))
    status = status_of(lab)
    assert status["state"] == "failed"
    assert status["trials"] == counts(complete=1, failed=1)
    assert status["blocks"] == counts(complete=2, failed=2)


def test_a_trial_whose_results_are_gone_waits_again(lab):
    lab.run(GRID)
    path = sorted((Path(lab.home.ledger) / "blocks").rglob("result.json"))[0]
    path.unlink()
    status = status_of(lab)
    assert status["trials"] == counts(complete=2, waiting=1)
    assert status["blocks"] == counts(complete=5, waiting=1)


def test_looking_changes_nothing(lab):
    lab.stop_at = 4
    lab.run(GRID)
    before = lab.memory
    assert status_of(lab) == status_of(lab)
    assert lab.memory == before
