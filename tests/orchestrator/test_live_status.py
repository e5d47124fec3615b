import copy
import json
import subprocess
import sys

import pytest
from sweep_lab import DisorderedExecutor, Lab, study

from orchestrator.errors import InputError
from orchestrator.ledger import Ledger
from orchestrator.live_status import Flight, StudyWatch
from orchestrator.logs import worker_name
from orchestrator.study_memory import checked

HERE = worker_name()
BLOCKS = [f"{number:064x}" for number in range(4)]


def memory(state="running", states=("running", "waiting"), **progress):
    """Two trials of two blocks of ten units, as a driver remembers them."""
    trials = [
        {
            "number": number,
            "label": f"weight={number}",
            "baseline": number == 0,
            "params": {},
            "changes": {},
            "state": one,
            "failure": "E: no\nTraceback" if one == "failed" else None,
            "blocks": [
                {"block_id": block, "streams": [i], "units": 10}
                for i, block in enumerate(BLOCKS[2 * number : 2 * number + 2])
            ],
        }
        for number, one in enumerate(states)
    ]
    usual = {
        "driver": HERE,
        "elapsed_s": 0.0,
        "units_done": 0,
        "units_missing": 40,
        "blocks": {"waiting": 4},
        "in_flight": [],
        "retries": 0,
        "lost": {},
    }
    return {
        "spec": {"question": "?", "measure": {"primary": "score", "interval": {"level": 0.95}}},
        "unit": "numbers",
        "state": state,
        "last_run": {},
        "progress": None if state != "running" else {**usual, **progress},
        "trials": trials,
    }


class Watched:
    """A ledger that holds what the test says, and somebody who looks at it."""

    def __init__(self, folder):
        self.ledger = Ledger(str(folder / "ledger"))
        self.now_s = 100.0
        self.watch = StudyWatch(self.ledger, "a", lambda: self.now_s)

    def see(self, state="running", states=("running", "waiting"), **progress):
        self.ledger.remember_study("a", memory(state, states, **progress))
        return self.watch.look()


@pytest.fixture
def watched(tmp_path):
    return Watched(tmp_path)


def test_what_the_driver_wrote_is_seen(watched):
    flight = {"block_id": BLOCKS[1], "trial": 0, "attempt": 2, "streams": [1], "done": 4}
    seen = watched.see(
        elapsed_s=7.0,
        units_done=14,
        blocks={"complete": 1, "running": 1, "waiting": 2},
        in_flight=[flight],
        retries=1,
        lost={"ActorDiedError": 1},
    )
    assert (seen.study, seen.unit, seen.state, seen.has_ended) == ("a", "numbers", "running", False)
    assert seen.trials == {"waiting": 1, "running": 1, "complete": 0, "failed": 0, "pruned": 0}
    assert seen.blocks == {"waiting": 2, "running": 1, "complete": 1, "failed": 0, "cancelled": 0}
    assert (seen.units_done, seen.units_missing) == (14, 40)
    assert (seen.units_per_s, seen.left_s) == (2.0, 13.0)
    assert (seen.retries, seen.lost) == (1, {"ActorDiedError": 1})
    assert seen.in_flight == (Flight(trial=0, streams=(1,), attempt=2, done=4, units=10),)


def test_the_rate_is_that_of_the_last_minute(watched):
    assert watched.see(elapsed_s=0.0).units_per_s is None
    assert watched.see(elapsed_s=10.0, units_done=10).units_per_s == 1.0
    assert watched.see(elapsed_s=60.0, units_done=20).units_per_s == 20 / 60
    # from 10 s on, since a minute before would be 10 s
    assert watched.see(elapsed_s=70.0, units_done=30).units_per_s == 20 / 60
    assert watched.see(elapsed_s=121.0, units_done=40).units_per_s == 20 / 61
    assert watched.watch.look().units_per_s == 20 / 61  # nothing new was written


def test_another_run_begins_another_rate(watched):
    watched.see(elapsed_s=50.0, units_done=20)
    seen = watched.see(elapsed_s=2.0, units_done=1, units_missing=20)
    assert (seen.units_per_s, seen.left_s) == (0.5, 38.0)


def test_a_study_that_has_ended_is_counted_in_the_ledger(watched):
    for block in BLOCKS[:3]:
        watched.ledger.complete(block, [], {0: {}}, {})
    seen = watched.see("failed", ("complete", "failed"))
    assert (seen.state, seen.has_ended) == ("failed", True)
    assert seen.blocks == {"waiting": 0, "running": 0, "complete": 3, "failed": 1, "cancelled": 0}
    assert seen.failures == ((1, "E: no"),)
    assert seen.left_s is None


def test_a_driver_that_writes_nothing_is_silent_until_it_does(watched):
    watched.see(elapsed_s=1.0)
    watched.now_s += 45
    assert watched.watch.look().silent_s == 45
    assert watched.see(elapsed_s=2.0).silent_s == 0


def test_a_driver_of_this_machine_that_is_gone_has_been_interrupted(watched):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    host = HERE.rpartition(":")[0]
    assert watched.see(driver=f"{host}:{gone}").state == "interrupted"
    assert watched.see(driver=f"elsewhere:{gone}").state == "running"
    assert watched.see(driver=f"{host}:1").state == "running"  # alive, and another user's
    assert watched.see(driver="").state == "running"


def test_a_study_that_was_there_and_cannot_be_read_now_is_as_it_was(watched):
    seen = watched.see(elapsed_s=1.0)
    watched.ledger._publish("studies/a.json", b'{"state"')
    assert watched.watch.look() == seen


def test_a_study_that_is_not_there_is_not_found(watched):
    with pytest.raises(FileNotFoundError, match="a"):
        watched.watch.look()


def test_looking_takes_no_lock_and_writes_nothing(tmp_path, optuna_db):
    lab = Lab(tmp_path)
    seen = []
    watch = StudyWatch(lab.ledger, "a", lambda: 0.0)

    def make(plan):
        return Looking(plan, slots=2, last_first=False)

    class Looking(DisorderedExecutor):
        def poll(self, timeout_s):
            before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
            seen.append(watch.look())
            assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
            return super().poll(timeout_s)

    ticks = iter(range(10_000))
    lab.run(study(sweep={"weight": [1.0, 2.0]}), make=make, clock=lambda: 3.0 * next(ticks))
    assert watch.look().state == "done"
    assert [one.units_done for one in seen] == sorted(one.units_done for one in seen)
    assert {len(one.in_flight) for one in seen} >= {0, 2}
    assert seen[-1].blocks["complete"] >= 2
    assert all(one.units_missing == 12 for one in seen)


# -- a file that no driver wrote ------------------------------------------------------------


def spoilt(*path, value):
    content = copy.deepcopy(memory())
    node = content
    for key in path[:-1]:
        node = node[key]
    if value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return content


def test_what_a_driver_writes_is_taken(tmp_path, optuna_db):
    lab = Lab(tmp_path)
    lab.run(study(sweep={"raise_at": [None, 1]}))
    assert checked(lab.memory, "a.json") == lab.memory
    assert checked(memory(), "a.json") == memory()


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ([], ""),
        (3, ""),
        ({}, "spec"),
        (spoilt("state", value="hacked"), "state"),
        (spoilt("trials", value={}), "trials"),
        (spoilt("trials", 0, "blocks", 1, "block_id", value="../../../etc/passwd"),
         "trials[0].blocks[1].block_id"),
        (spoilt("trials", 0, "blocks", 1, "block_id", value="A" * 64),
         "trials[0].blocks[1].block_id"),
        (spoilt("trials", 0, "state", value="hacked"), "trials[0].state"),
        (spoilt("trials", 0, "label", value=None), "trials[0].label"),
        (spoilt("spec", "measure", "interval", "level", value=2), "spec.measure.interval.level"),
        (spoilt("progress", "in_flight", value=[3]), "progress.in_flight[0]"),
    ],
)  # fmt: skip
def test_what_no_driver_writes_is_refused_with_its_place_and_file(content, place):
    with pytest.raises(InputError) as caught:
        checked(content, "ledger/studies/a.json")
    assert caught.value.problems[0].place == place
    assert "ledger/studies/a.json" in str(caught.value)
    assert "remove the file" in caught.value.footer


def test_a_watcher_refuses_it_too(watched):
    watched.ledger._publish("studies/a.json", json.dumps({"state": "done"}).encode())
    with pytest.raises(InputError, match=r"studies/a\.json"):
        watched.watch.look()
