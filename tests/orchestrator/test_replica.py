import json
import logging
import os
import socket
import time
from dataclasses import dataclass

import pytest
import toy_objective
from toy_objective import ToyObjective, following, toy_params

from orchestrator.errors import Problem
from orchestrator.executors import replica as replica_module
from orchestrator.executors.protocol import Failed, Finished, Interrupted, Lost, WorkItem
from orchestrator.executors.replica import Replica, ReplicaPlan
from orchestrator.ledger import Ledger
from orchestrator.logs import logging_to
from orchestrator.objective import Site

BLOCK = "ab" + "0" * 62


@dataclass
class FakeTime:
    """A clock that only ``sleep`` moves."""

    now_s: float = 1000.0

    def time(self):
        return self.now_s

    def monotonic(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    fake = FakeTime()
    monkeypatch.setattr(replica_module, "time", fake)
    return fake


class Lab:
    """A ledger in a folder, and replicas that write to it."""

    def __init__(self, folder):
        self.folder = folder
        self.ledger = Ledger(str(folder / "ledger"))
        self.units = []  # positions in the order in which they ran
        self.on_unit = lambda position: None
        self.checkpoint_every_s = 1.0
        self.replica = self.fresh_replica()

    def fresh_replica(self):
        def note(stream, position):
            self.units.append(position)
            self.on_unit(position)

        site = Site(self.folder / "cache", "cpu", 1)
        objective, every_s = ToyObjective(note), self.checkpoint_every_s
        self.replica = Replica(ReplicaPlan(objective, self.ledger.uri, site, every_s))
        return self.replica

    def run(self, *, streams=(0, 1), attempt=1, block=BLOCK, **changes):
        return self.replica.run(WorkItem(block, 0, toy_params(**changes), streams, attempt))

    def result_files(self):
        """What the block is remembered by, byte for byte."""
        names = ("records.parquet", "result.json")
        return [next(self.folder.joinpath("ledger").rglob(name)).read_bytes() for name in names]


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


@pytest.fixture
def every_unit(lab):
    """Checkpoints come after every unit, however fast."""
    lab.checkpoint_every_s = 0.0
    lab.fresh_replica()


@pytest.fixture
def undisturbed(tmp_path_factory):
    """The result files of the block, when nothing happens."""
    lab = Lab(tmp_path_factory.mktemp("undisturbed"))
    assert lab.run() == Finished(BLOCK, 1)
    return lab.result_files()


def test_a_block_runs_to_its_end_and_is_in_the_ledger(lab):
    assert lab.run() == Finished(BLOCK, 1)
    assert lab.units == [0, 1, 2, 3, 4, 5]
    first = following(0, 0, 0, 0)
    second = following(first, 0, 1, 0)
    records = lab.ledger.records(BLOCK)
    assert [r.value for r in records[:2]] == [first / 1000, second / 1000]
    result = lab.ledger.result(BLOCK)
    assert result is not None
    assert list(result.summaries) == [0, 1]
    assert result.summaries[1]["score"][1] == 3
    assert (lab.replica.done, lab.replica.loads) == (6, 1)


def test_records_are_ordered_by_stream_and_place_with_what_holds_for_all_of_it_last(lab):
    lab.run(streams=(1, 0))
    places = [(record.stream, record.position) for record in lab.ledger.records(BLOCK)]
    assert places == [(0, 0), (0, 1), (0, 2), (0, -1), (1, 0), (1, 1), (1, 2), (1, -1)]


def test_how_a_block_came_about_is_kept_beside_its_result(lab, clock):
    lab.on_unit = lambda position: setattr(clock, "now_s", 1000.0 + position)
    lab.run(attempt=2)
    attempt = lab.ledger.attempt(BLOCK)
    assert (attempt["attempt"], attempt["units"], attempt["device"]) == (2, 6, "cpu")
    assert attempt["worker"] == f"{socket.gethostname()}:{os.getpid()}"
    assert (attempt["started_s"], attempt["finished_s"]) == (1000.0, 1005.0)


def test_the_time_inside_the_work_is_kept_apart_from_the_time_around_it(lab, clock, monkeypatch):
    def checkpoint(*args, **kwargs):
        clock.now_s += 10.0
        return keep(*args, **kwargs)

    keep = Ledger.checkpoint
    monkeypatch.setattr(Ledger, "checkpoint", checkpoint)
    lab.on_unit = lambda position: setattr(clock, "now_s", clock.now_s + 0.75)
    lab.run()
    attempt = lab.ledger.attempt(BLOCK)
    assert attempt["working_s"] == 6 * 0.75
    assert attempt["finished_s"] - attempt["started_s"] == 6 * 0.75 + 3 * 10  # every second unit


def test_a_complete_block_is_not_run_again(lab):
    lab.run()
    lab.units.clear()
    assert lab.run(attempt=2) == Finished(BLOCK, 2)
    assert lab.units == []


def test_models_stay_warm_from_block_to_block(lab):
    lab.run()
    lab.run(block="cd" + BLOCK[2:])
    assert lab.replica.loads == 1


# -- checkpoints --------------------------------------------------------------------------


def test_a_checkpoint_is_written_once_a_second_and_at_the_end(lab, clock):
    seen = []
    times = {1: 1000.999, 3: 1001.0, 5: 1001.999}  # the first at 1001.0, so the next at 1002.0

    def on_unit(position):
        clock.now_s = times.get(position, clock.now_s)
        checkpoint = lab.ledger.resume(BLOCK)
        seen.append(checkpoint[0].position if checkpoint else None)

    lab.on_unit = on_unit
    lab.run()
    assert seen == [None, None, None, None, 4, 4]


@pytest.mark.parametrize(
    ("every_s", "checkpoints"),
    [
        (0.0, [None, 1, 2, 3, 4, 5]),
        (1.0, [None, 1, 2, 3, 4, 5]),  # a unit takes exactly one second
        (1.001, [None, None, 2, 2, 4, 4]),
        (3.0, [None, None, None, 3, 3, 3]),
    ],
)
def test_a_study_says_how_often_checkpoints_are_written(lab, clock, every_s, checkpoints):
    seen = []

    def on_unit(position):
        checkpoint = lab.ledger.resume(BLOCK)
        seen.append(checkpoint[0].position if checkpoint else None)
        clock.now_s += 1.0

    lab.checkpoint_every_s, lab.on_unit = every_s, on_unit
    lab.fresh_replica()
    lab.run()
    assert seen == checkpoints


def test_a_state_is_made_only_where_a_checkpoint_is_written(lab, clock, monkeypatch):
    made = []

    def counted(number):
        made.append(lab.units[-1])
        return b'{"number": %d}' % number

    monkeypatch.setattr(toy_objective, "state_of", counted)
    lab.on_unit = lambda position: setattr(clock, "now_s", 1000.0 + position * 0.4)
    lab.run()
    assert made == [3]  # a second has passed; at the end the result itself is written


def test_what_is_logged_between_two_checkpoints_is_not_about_the_block(lab, every_unit, tmp_path):
    with logging_to(tmp_path / "a.log"):
        steps = lab.replica.steps(WorkItem(BLOCK, 6, toy_params(), (0,), 1))
        next(steps)
        logging.getLogger("caller").info("while it rests")
        steps.close()
        logging.getLogger("caller").info("after it was given up")
    lines = [json.loads(line) for line in (tmp_path / "a.log").read_text().splitlines()]
    assert [(line["message"], line.get("trial")) for line in lines] == [
        ("begins with 0 units done", 6),
        ("while it rests", None),
        ("after it was given up", None),
    ]


def test_a_block_whose_ledger_is_away_from_the_start_has_done_nothing_yet(lab, monkeypatch):
    assert lab.run() == Finished(BLOCK, 1)  # and leaves its position behind

    def away(self, block_id):
        raise TimeoutError("no answer")

    monkeypatch.setattr(Ledger, "is_complete", away)
    event = lab.run(block="cd" + "0" * 62)
    assert (event.fault, event.position) == ("storage", 0)


def test_points_have_the_time_of_their_checkpoint(lab, clock):
    lab.on_unit = lambda position: setattr(clock, "now_s", 1000.0 + position)
    lab.run(streams=(0,))
    times = [timed.timestamp_ms for timed in lab.ledger.points(BLOCK)]
    assert times == [1_001_000, 1_001_000, 1_002_000]


def test_a_block_that_is_asked_to_stop_stops_at_once_and_goes_on_elsewhere(lab, undisturbed):
    def stop_at_two(position):
        lab.replica.stop_asked = position >= 2

    lab.on_unit = stop_at_two
    assert lab.run() == Interrupted(BLOCK, 1)
    assert lab.units == [0, 1, 2]
    assert not lab.ledger.is_complete(BLOCK)

    lab.on_unit = lambda position: None
    lab.fresh_replica()
    assert lab.run() == Finished(BLOCK, 1)
    assert lab.units == [0, 1, 2, 3, 4, 5]
    assert lab.ledger.attempt(BLOCK)["units"] == 3
    assert lab.ledger.attempt(BLOCK)["working_s"] > 0
    assert lab.result_files() == undisturbed


@pytest.mark.parametrize("n_units", [1, 2, 3, 4, 5])
def test_wherever_a_block_is_interrupted_its_result_is_the_same_bytes(lab, undisturbed, n_units):
    def stop(position):
        lab.replica.stop_asked = position + 1 == n_units

    lab.on_unit = stop
    assert lab.run() == Interrupted(BLOCK, 1)
    lab.on_unit = lambda position: None
    lab.fresh_replica()
    lab.run()
    assert lab.result_files() == undisturbed


def test_a_block_interrupted_after_every_unit_ends_with_the_same_bytes(lab, undisturbed):
    lab.on_unit = lambda position: setattr(lab.replica, "stop_asked", True)
    for _ in range(5):
        assert lab.run() == Interrupted(BLOCK, 1)
        lab.fresh_replica()
    assert lab.run() == Finished(BLOCK, 1)
    assert lab.units == [0, 1, 2, 3, 4, 5]
    assert lab.result_files() == undisturbed
    assert [timed.point.step for timed in lab.ledger.points(BLOCK)] == [0, 1, 2, 0, 1, 2]


def test_a_stop_during_the_last_unit_comes_too_late(lab):
    lab.on_unit = lambda position: setattr(lab.replica, "stop_asked", position == 5)
    assert lab.run() == Finished(BLOCK, 1)


class Killed(BaseException):
    """As if the process were gone."""


def test_a_replica_killed_before_the_result_is_written_goes_on_behind_its_last_checkpoint(
    lab, every_unit, monkeypatch, undisturbed
):
    def die(*args):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Ledger, "complete", die)
        lab.run()
    lab.units.clear()
    lab.fresh_replica()
    assert lab.run(attempt=2) == Finished(BLOCK, 2)
    assert lab.units == []
    assert lab.result_files() == undisturbed


@pytest.mark.parametrize("dies_in", ["checkpoint", "complete"])
def test_what_a_block_produces_is_there_wherever_it_was_killed(
    lab, every_unit, monkeypatch, dies_in
):
    def die(ledger, block, *args, **kwargs):
        if dies_in == "complete" or args[0].position == 4:
            raise Killed
        checkpoint(ledger, block, *args, **kwargs)

    checkpoint = Ledger.checkpoint
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Ledger, dies_in, die)
        lab.run(attach=True)
    lab.units.clear()
    lab.fresh_replica()
    assert lab.run(attempt=2, attach=True) == Finished(BLOCK, 2)
    assert lab.units == ([3, 4, 5] if dies_in == "checkpoint" else [])
    number = following(following(following(0, 1, 0, 0), 1, 1, 0), 1, 2, 0)
    assert lab.ledger.attachment(BLOCK) == toy_objective.state_of(number)
    assert len(lab.ledger.records(BLOCK)) == 8


def test_a_replica_killed_in_the_middle_goes_on_behind_its_last_checkpoint(
    lab, every_unit, undisturbed
):
    def die(position):
        if position == 4:
            raise Killed

    lab.on_unit = die
    with pytest.raises(Killed):
        lab.run()
    lab.on_unit = lambda position: None
    lab.fresh_replica()
    lab.run(attempt=2)
    assert lab.units == [0, 1, 2, 3, 4, 4, 5]
    assert lab.result_files() == undisturbed


# -- what the work raises -----------------------------------------------------------------


def test_an_exception_is_reported_with_traceback_and_worker(lab):
    event = lab.run(raise_at=1, attempt=2)
    assert isinstance(event, Failed)
    assert (event.block_id, event.attempt) == (BLOCK, 2)
    assert event.reason == "RuntimeError: the toy broke"
    assert event.details.startswith("Traceback")
    assert "toy_objective.py" in event.details
    assert event.worker == f"{socket.gethostname()}:{os.getpid()}"
    assert event.problems == ()
    assert not lab.ledger.is_complete(BLOCK)


def test_wrong_input_is_reported_with_its_problems(lab):
    event = lab.run(refuse_at=0)
    assert isinstance(event, Failed)
    assert event.problems == (Problem("weight", None, "too heavy", "a lighter one"),)


def test_a_replica_goes_on_after_an_exception(lab):
    lab.run(raise_at=1)
    assert lab.run(block="cd" + BLOCK[2:]) == Finished("cd" + BLOCK[2:], 1)


def test_what_was_done_before_an_exception_need_not_be_done_again(lab, every_unit):
    lab.run(raise_at=3)
    lab.units.clear()
    assert isinstance(lab.run(), Finished)
    assert lab.units == [3, 4, 5]


# -- traces -------------------------------------------------------------------------------


def test_a_block_that_does_not_go_on_here_is_free_for_others(lab, every_unit):
    claim = lab.folder / "ledger" / "work" / BLOCK / "claim.json"
    lab.on_unit = lambda position: position == 3 and lab.replica.cancel(BLOCK)
    assert lab.run() == Interrupted(BLOCK, 1)
    assert not claim.exists() and lab.ledger.position(BLOCK) == 4
    lab.on_unit = lambda position: claim.exists() or pytest.fail("it is not claimed")
    assert isinstance(lab.run(raise_at=5, attempt=2), Failed)
    assert not claim.exists()


def test_nothing_is_kept_of_a_block_that_left_a_trace(lab, every_unit, undisturbed):
    assert lab.run(dirty_at=2) == Lost(BLOCK, 1, "the toy is not what it was")
    assert not lab.ledger.is_complete(BLOCK)
    assert lab.ledger.resume(BLOCK) is None

    lab.fresh_replica()
    assert lab.run(attempt=2) == Finished(BLOCK, 2)
    assert lab.result_files() == undisturbed


def test_a_replica_with_a_trace_runs_nothing_more(lab):
    lab.run(dirty_at=0)
    lab.units.clear()
    other = "cd" + BLOCK[2:]
    assert lab.run(block=other) == Lost(other, 1, "the toy is not what it was")
    assert lab.units == []


def test_a_block_that_left_a_trace_and_was_interrupted_is_lost(lab):
    lab.on_unit = lambda position: setattr(lab.replica, "stop_asked", position == 3)
    assert isinstance(lab.run(dirty_at=2), Lost)
    assert lab.ledger.resume(BLOCK) is None


def test_an_exception_that_left_a_trace_fails_its_trial_and_then_costs_the_replica(lab, every_unit):
    assert isinstance(lab.run(dirty_at=1, raise_at=3), Failed)
    assert lab.ledger.resume(BLOCK) is None
    lab.units.clear()
    assert isinstance(lab.run(block="cd" + BLOCK[2:]), Lost)
    assert lab.units == []


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_a_clock_that_jumps_changes_timestamps_alone(
    lab, every_unit, undisturbed, monkeypatch, jump_s
):
    wall = {"now_s": 1e9}

    class JumpingTime:
        monotonic = staticmethod(time.monotonic)

        def time(self):
            return wall["now_s"]

    monkeypatch.setattr(replica_module, "time", JumpingTime())

    def jump(position):
        wall["now_s"] += jump_s
        lab.replica.stop_asked = position == 2

    lab.on_unit = jump
    assert lab.run() == Interrupted(BLOCK, 1)
    before = {t.point.step: t.timestamp_ms for t in lab.ledger.points(BLOCK) if not t.point.stream}
    lab.fresh_replica()
    assert lab.run(attempt=2) == Finished(BLOCK, 2)
    assert lab.result_files() == undisturbed
    after = {t.point.step: t.timestamp_ms for t in lab.ledger.points(BLOCK) if not t.point.stream}
    assert before.items() <= after.items()  # MLflow keeps a point once if its time stays
