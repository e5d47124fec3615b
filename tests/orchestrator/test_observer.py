import json

import pytest
from sweep_lab import Lab, study
from toy_objective import ToyObjective, toy_params

from orchestrator.executors.inline import InlineExecutor
from orchestrator.executors.protocol import Failed, Finished, Interrupted, Lost, WorkItem
from orchestrator.executors.replica import Replica, ReplicaPlan
from orchestrator.logs import logging_to
from orchestrator.objective import Site
from orchestrator.observer import SweepObserver, reason_kind
from orchestrator.telemetry import BLOCK_STATES
from orchestrator.trials import BlockState


class Meter:
    """Sums counters, keeps gauges, lists what histograms are told; by name and labels."""

    def __init__(self):
        self.values = {}

    def record(self, metric, value, **labels):
        assert set(labels) == set(metric.labels)
        key = " ".join([metric.name, *(labels[name] for name in metric.labels)])
        if metric.kind == "counter":
            self.values[key] = self.values.get(key, 0) + value
        elif metric.kind == "gauge":
            self.values[key] = value
        else:
            self.values.setdefault(key, []).append(value)


@pytest.fixture
def meter():
    return Meter()


@pytest.fixture
def observer(meter):
    return SweepObserver("a", lambda: meter)


def item(block, attempt=1, streams=(0,)):
    return WorkItem(block, 5, {}, streams, attempt)


def test_what_runs_is_in_flight_and_what_is_lost_is_counted_by_its_reason(observer, meter):
    for block in "wxyz":
        observer.launched(item(block))
    observer.reported(Finished("w", 1))
    observer.reported(Interrupted("x", 1))
    observer.reported(Lost("y", 1, "ActorDiedError: The actor died: gone"))
    observer.launched(item("y", 2))
    observer.reported(Lost("y", 2, "the toy is not what it was"))
    observer.launched(item("y", 3))
    observer.reported(Failed("z", 1, "RuntimeError: no", "Traceback", "host:1"))
    assert set(observer.in_flight) == {"y"}
    progress = observer.progress(
        ["running", "waiting", "waiting"],
        {"y": 4},
        units_executed=10,
        units_missing=30,
        elapsed_s=2.5,
    )
    assert progress["blocks"] == {"running": 1, "waiting": 2}
    assert (progress["units_done"], progress["units_missing"]) == (14, 30)
    assert progress["elapsed_s"] == 2.5
    assert progress["in_flight"] == [
        {"block_id": "y", "trial": 5, "attempt": 3, "streams": [0], "done": 4}
    ]
    assert (progress["retries"], progress["failed_blocks"]) == (2, 1)
    assert progress["lost"] == {"ActorDiedError": 1, "other": 1}
    assert meter.values["mpn_retries a"] == 2
    assert meter.values["mpn_lost_attempts a ActorDiedError"] == 1
    assert meter.values["mpn_lost_attempts a other"] == 1
    assert meter.values["mpn_failed_blocks a"] == 1


def test_gauges_show_how_things_stand_with_zeros_for_what_there_is_none_of(observer, meter):
    observer.launched(item("y"))
    observer.measure(["running", "waiting", "waiting"], n_replicas=2, backlog=7)
    assert meter.values["mpn_blocks a waiting"] == 2
    assert meter.values["mpn_blocks a running"] == 1
    assert meter.values["mpn_blocks a complete"] == 0
    assert meter.values["mpn_blocks_in_flight a"] == 1
    assert meter.values["mpn_replicas a"] == 2
    assert meter.values["mpn_mirror_backlog a"] == 7


def test_every_state_of_a_block_is_shown():
    assert set(BLOCK_STATES) == {str(state) for state in BlockState}


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("OutOfMemoryError: the node ran out: 3", "OutOfMemoryError"),
        ("no reply for 60 s: given up", "other"),
        ("", "other"),
        ("x" * 61 + ": y", "other"),
    ],
)
def test_reasons_are_of_few_kinds(reason, kind):
    assert reason_kind(reason) == kind


def test_events_are_logged_with_what_they_are_about(observer, tmp_path):
    with logging_to(tmp_path / "a.log", study="a"):
        observer.launched(item("y", 2, streams=(3, 4)))
        observer.reported(Failed("y", 2, "RuntimeError: no", "Traceback", "host:1"))
    launched, failed = map(json.loads, (tmp_path / "a.log").read_text().splitlines())
    assert launched["message"] == "launched streams 3, 4"
    assert (failed["level"], failed["message"]) == (
        "ERROR", "failed: RuntimeError: no\nTraceback"
    )  # fmt: skip
    for line in (launched, failed):
        assert [line[key] for key in ("study", "trial", "block", "attempt")] == ["a", 5, "y", 2]
    assert failed["worker"] == "host:1"


# -- replicas -----------------------------------------------------------------------------


def replica(tmp_path, meter, **changes):
    plan = ReplicaPlan(
        ToyObjective(), str(tmp_path / "ledger"), Site(tmp_path, "cpu", 1), 0.0, study="a"
    )
    work = WorkItem("b" * 64, 5, toy_params(**changes), (0, 1), 1)
    return Replica(plan, meter, "/logs/here.log").run(work)


def test_a_replica_measures_what_it_did(tmp_path, meter):
    replica(tmp_path, meter, wait_ms=5)
    assert meter.values["mpn_units a numbers"] == 6
    assert 6 * 0.005 <= meter.values["mpn_replica_working_seconds a"] < 60
    assert len(meter.values["mpn_checkpoint_seconds a"]) == 6
    assert meter.values["mpn_checkpoint_bytes a"] > 6 * 500


def test_a_failure_says_how_far_the_block_was(tmp_path, meter):
    event = replica(tmp_path, meter, raise_at=4)
    assert (event.position, event.log) == (4, "/logs/here.log")
    assert meter.values["mpn_units a numbers"] == 4


def test_a_replica_logs_what_its_block_is_about(tmp_path, meter):
    with logging_to(tmp_path / "here.log", study="a", worker="host:1"):
        replica(tmp_path, meter, raise_at=4)
    begins, failed = map(json.loads, (tmp_path / "here.log").read_text().splitlines())
    assert begins["message"] == "begins with 0 units done"
    assert failed["message"] == "failed after 4 units"
    assert failed["exception"].endswith("RuntimeError: the toy broke")
    for line in (begins, failed):
        assert [line[key] for key in ("trial", "block", "attempt")] == [5, "b" * 64, 1]


# -- a sweep ------------------------------------------------------------------------------


class Metered(InlineExecutor):
    """Runs in this process, and is measured."""

    meter = Meter()

    @property
    def telemetry(self):
        return self.meter


def test_a_sweep_is_measured_to_its_end_and_remembers_what_it_is_at(tmp_path, optuna_db):
    lab = Lab(tmp_path)
    remembered = []

    class Telling(Metered):
        def poll(self, timeout_s):
            remembered.append(lab.memory["progress"])
            return super().poll(timeout_s)

    lab.run(study(sweep={"raise_at": [None, 1]}), make=Telling)
    values = Metered.meter.values
    assert values["mpn_blocks a complete"] == 2
    assert values["mpn_blocks a failed"] == 1
    assert values["mpn_blocks a cancelled"] == 1
    assert values["mpn_failed_blocks a"] == 1
    assert values["mpn_blocks_in_flight a"] == 0
    assert remembered[0]["units_missing"] == 12
    assert remembered[0]["driver"]
    assert lab.memory["progress"] is None  # it has ended
