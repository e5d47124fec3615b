import threading

import pytest
from toy_objective import ToyObjective, toy_params

from orchestrator.executors.inline import InlineExecutor
from orchestrator.executors.protocol import Finished, Interrupted, Lost, WorkItem
from orchestrator.executors.replica import ReplicaPlan
from orchestrator.ledger import Ledger
from orchestrator.objective import Site


@pytest.fixture
def make(tmp_path):
    def make(on_unit=None, **settings):
        site, ledger = Site(tmp_path / "cache", "cpu", 1), str(tmp_path / "ledger")
        return InlineExecutor(ReplicaPlan(ToyObjective(on_unit), ledger, site, **settings))

    return make


def item(block, **changes):
    return WorkItem(block, 0, toy_params(**changes), (0,), 1)


def test_work_runs_in_poll_in_the_thread_that_calls_it(make):
    threads = []
    executor = make(lambda stream, position: threads.append(threading.current_thread()))
    executor.start()
    executor.launch(item("a"))
    assert threads == []
    executor.poll(0)
    assert set(threads) == {threading.current_thread()}


def test_one_item_waits_at_a_time(make):
    executor = make()
    executor.start()
    assert executor.free == 1
    executor.launch(item("a"))
    assert executor.free == 0
    executor.poll(0)
    assert executor.free == 1


def test_no_work_before_the_start(make):
    executor = make()
    executor.launch(item("a"))
    with pytest.raises(RuntimeError, match="start"):
        executor.poll(0)


def test_a_stop_before_the_start_is_no_error(make):
    make().ask_to_stop()


def test_a_stop_reaches_the_item_that_runs(make):
    executor = make(lambda stream, position: position == 1 and executor.ask_to_stop())
    executor.start()
    executor.launch(item("a"))
    assert executor.poll(0) == [Interrupted("a", 1)]


def test_a_poll_runs_to_the_next_checkpoint(make):
    units = []
    executor = make(lambda stream, position: units.append(position), checkpoint_every_s=0.0)
    executor.start()
    executor.launch(item("a"))
    n_units = []
    while not (events := executor.poll(0)):
        n_units.append(len(units))
        assert executor.free == 0
    assert (n_units, events) == ([1, 2, 3], [Finished("a", 1)])


def test_a_cancelled_item_does_no_further_unit(make, tmp_path):
    units = []
    executor = make(lambda stream, position: units.append(position), checkpoint_every_s=0.0)
    executor.start()
    executor.launch(item("a"))
    executor.poll(0)
    executor.cancel(["b"])
    executor.poll(0)
    executor.cancel(["a"])
    assert executor.poll(0) == [Interrupted("a", 1)]
    assert units == [0, 1]
    executor.launch(item("a"))
    executor.cancel(["a"])
    assert executor.poll(0) == [Interrupted("a", 1)]  # before its first unit
    assert units == [0, 1]
    executor.launch(item("a"))
    assert executor.poll(0) == []  # it is taken up, past the third unit's checkpoint
    assert executor.poll(0) == [Finished("a", 1)]
    assert units == [0, 1, 2]


def test_a_replica_with_a_trace_is_replaced(make, tmp_path):
    executor = make()
    executor.start()
    executor.launch(item("a", dirty_at=1))
    assert isinstance(executor.poll(0)[0], Lost)
    executor.launch(item("b"))
    assert executor.poll(0) == [Finished("b", 1)]
    assert executor.model_loads == 2  # that of the one that is gone counts
    ledger = Ledger(str(tmp_path / "ledger"))
    assert (ledger.is_complete("a"), ledger.is_complete("b")) == (False, True)


def test_preparing_builds_here_and_tells_how_far_it_is(make, tmp_path):
    executor = make()
    executor.start()
    told = []
    executor.prepare(toy_params(needs="base"), lambda *progress: told.append(progress))
    assert told == [("building", 1, 2), ("building", 2, 2)]
    assert (tmp_path / "cache" / "base").exists()
