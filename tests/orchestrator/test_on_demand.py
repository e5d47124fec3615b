import pytest
from toy_objective import ToyObjective, toy_params

from orchestrator.executors.inline import InlineExecutor
from orchestrator.executors.on_demand import OnDemandExecutor
from orchestrator.executors.protocol import Finished, Interrupted, WorkItem
from orchestrator.executors.replica import ReplicaPlan
from orchestrator.objective import Site


class Lab:
    def __init__(self, folder):
        self.n_made = 0
        self.plan = ReplicaPlan(
            ToyObjective(), str(folder / "ledger"), Site(folder / "cache", "cpu", 1)
        )
        self.executor = OnDemandExecutor(self._make)

    def _make(self):
        self.n_made += 1
        return InlineExecutor(self.plan)


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def test_nothing_is_started_by_looking(lab):
    executor = lab.executor
    assert executor.free == 1
    assert executor.poll(60) == []
    assert executor.progress() == {}
    executor.ask_to_stop()
    executor.close()
    executor.close()
    assert (executor.n_actors, executor.model_loads, lab.n_made) == (0, 0, 0)


def test_the_first_item_starts_one_executor_for_all(lab):
    for block in ("a", "b"):
        lab.executor.launch(WorkItem(block, 0, toy_params(), (0,), 1))
        assert lab.executor.poll(0) == [Finished(block, 1)]
    assert (lab.executor.n_actors, lab.executor.model_loads, lab.n_made) == (1, 1, 1)


def test_preparing_starts_it_too(lab, tmp_path):
    lab.executor.prepare(toy_params(needs="base"), lambda *progress: None)
    assert lab.n_made == 1
    assert (tmp_path / "cache" / "base").exists()


def test_an_explicit_start_counts(lab):
    lab.executor.start()
    lab.executor.start()
    assert lab.n_made == 1


class SlowToStart(InlineExecutor):
    """Its replica is up after so many polls."""

    polls_left = 2

    @property
    def free(self):
        return 0 if self.polls_left else super().free

    @property
    def holds(self):
        return () if self.polls_left else super().holds

    def poll(self, timeout_s):
        self.polls_left = max(0, self.polls_left - 1)
        return super().poll(0)


@pytest.fixture
def slow(lab):
    """An executor whose replicas take their time, with an item launched on it."""
    executor = OnDemandExecutor(lambda: SlowToStart(lab.plan))
    executor.launch(WorkItem("a", 0, toy_params(), (0,), 1))
    assert (executor.free, executor.holds) == (0, ())
    return executor


def test_the_first_item_waits_for_a_replica_and_shows_signs_of_life(slow):
    assert slow.poll(0) == []
    before = slow.progress()["a"]
    assert slow.poll(0) == []
    assert slow.poll(0) == [Finished("a", 1)]
    assert before.heard == 1
    assert slow.free == 1


def test_an_item_that_waits_can_be_stopped_or_cancelled_or_abandoned(slow, lab):
    slow.cancel(["b"])
    slow.cancel(["a"])
    assert slow.poll(0) == [Interrupted("a", 1)]
    assert [slow.poll(0) for _ in range(3)] == [[], [], []]

    slow = OnDemandExecutor(lambda: SlowToStart(lab.plan))
    slow.launch(WorkItem("b", 0, toy_params(), (0,), 1))
    slow.ask_to_stop()
    assert slow.poll(0) == [Interrupted("b", 1)]

    slow = OnDemandExecutor(lambda: SlowToStart(lab.plan))
    slow.launch(WorkItem("c", 0, toy_params(), (0,), 1))
    slow.abandon("c")
    assert [slow.poll(0) for _ in range(4)] == [[]] * 4
    assert slow.progress() == {}
