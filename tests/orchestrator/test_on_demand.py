import pytest
from toy_objective import ToyObjective, toy_params

from orchestrator.executors.inline import InlineExecutor
from orchestrator.executors.on_demand import OnDemandExecutor
from orchestrator.executors.protocol import Finished, Interrupted, WorkItem
from orchestrator.executors.replica import ReplicaPlan
from orchestrator.ledger import Ledger
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


def test_a_wish_to_stop_while_it_starts_holds_for_what_starts_it(lab):
    executor = lab.executor = OnDemandExecutor(lambda: [lab._make(), executor.ask_to_stop()][0])
    executor.launch(WorkItem("a", 0, toy_params(), (0,), 1))
    assert lab.n_made == 1
    assert executor.poll(0) == [Interrupted("a", 1)]
    assert not Ledger(lab.plan.ledger_uri).is_complete("a")


class SlowStart(InlineExecutor):
    """Has no replica until it is told that one is up."""

    up = False

    @property
    def free(self):
        return super().free if self.up else 0


@pytest.fixture
def slow(lab):
    inner = SlowStart(lab.plan)
    lab.executor = OnDemandExecutor(lambda: inner)
    lab.executor.launch(WorkItem("a", 0, toy_params(), (0,), 1))
    assert (lab.executor.free, lab.executor.holds) == (0, ())
    assert lab.executor.poll(0) == []
    return lab.executor, inner


def test_the_first_item_waits_for_a_replica(slow):
    executor, inner = slow
    inner.up = True
    assert executor.poll(0) == [Finished("a", 1)]
    assert executor.free == 1


@pytest.mark.parametrize("end", [lambda e: e.ask_to_stop(), lambda e: e.cancel(iter(["a"]))])
def test_the_first_item_can_be_stopped_before_there_is_a_replica(slow, end):
    executor, inner = slow
    end(executor)
    assert executor.poll(0) == [Interrupted("a", 1)]
    inner.up = True
    assert executor.poll(0) == []
