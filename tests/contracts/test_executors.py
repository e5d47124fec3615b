"""The contract of ``orchestrator.executors.protocol.Executor``, kept by every executor."""

import itertools
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import toy_objective
from toy_objective import FragileToyObjective, ToyObjective, following, toy_params

from orchestrator.errors import Problem, WorkerLostError
from orchestrator.executors.inline import InlineExecutor
from orchestrator.executors.on_demand import OnDemandExecutor
from orchestrator.executors.protocol import (
    Failed,
    Finished,
    Interrupted,
    Lost,
    Taken,
    WorkItem,
)
from orchestrator.executors.replica import ReplicaPlan
from orchestrator.ledger import Ledger
from orchestrator.objective import Site
from orchestrator.sessions import Claims, Roster

_PATIENCE_S = 60  # far more than anything here takes


def _inline(plan, n_actors):
    return InlineExecutor(plan)


def _on_demand(plan, n_actors):
    return OnDemandExecutor(lambda: InlineExecutor(plan))


def _ray(plan, n_actors):
    from orchestrator.executors.ray_pool import PoolSettings, RayExecutor

    return RayExecutor(plan, PoolSettings(n_actors, gpus=0, cpus=0.1))


RAY = pytest.param(_ray, id="ray", marks=pytest.mark.ray)


class Lab:
    """An executor of two replicas where it can have them, and the ledger it writes to."""

    def __init__(self, folder, make):
        self.folder, self._make = folder, make
        self.ledger = Ledger(str(folder / "ledger"))
        self.plan = ReplicaPlan(ToyObjective(), self.ledger.uri, Site(folder / "cache", "cpu", 1))
        self.numbers = itertools.count()
        self.executor = self.another(2)

    def another(self, n_actors):
        executor = self._make(self.plan, n_actors)
        executor.start()
        self.all_up(executor)
        return executor

    def all_up(self, executor):
        """Wait until all replicas are free."""
        deadline = time.monotonic() + _PATIENCE_S
        while executor.free < executor.n_actors:
            assert time.monotonic() < deadline, f"{executor.free} of {executor.n_actors} are up"
            assert executor.poll(0.2) == []

    def item(self, attempt=1, streams=(0, 1), **changes):
        """Work that was never asked for before, unless the seed is given."""
        seed = changes.pop("seed", next(self.numbers))
        return WorkItem(f"{seed:064d}", seed, toy_params(seed=seed, **changes), streams, attempt)

    def run(self, *items, executor=None):
        """Run the items in turn; return the events, in the order in which they came."""
        executor = executor or self.executor
        waiting, events = list(items), []
        deadline = time.monotonic() + _PATIENCE_S
        while len(events) < len(items):
            assert time.monotonic() < deadline, f"{len(events)} of {len(items)} events"
            while waiting and executor.free:
                executor.launch(waiting.pop(0))
            events += executor.poll(0.2)
        assert executor.poll(0) == []
        return events

    def one(self, item, executor=None):
        [event] = self.run(item, executor=executor)
        return event


@pytest.fixture(scope="module", autouse=True)
def _workers_find_the_toy():
    """Processes that Ray starts look for modules where their parent says."""
    folders = [str(Path(toy_objective.__file__).parent), os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
        patch.setenv("RAY_ADDRESS", "127.0.0.1:9")  # a cluster that is not theirs to join
        yield


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(_inline, id="inline"),
        pytest.param(_on_demand, id="on demand"),
        RAY,
    ],
)
def lab(request, tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("executor"), request.param)
    yield lab
    lab.executor.close()


def values_of(ledger, block):
    """Scores of a block, by stream and place."""
    return [r.value for r in ledger.records(block) if r.metric == "score"]


def expected_values(seed, streams=(0, 1), n_units=3):
    values = []
    for stream in streams:
        number = 0
        for unit in range(n_units):
            number = following(number, stream, unit, seed)
            values.append(number / 1000)
    return values


class TestExecutor:
    def test_what_a_block_produces_is_in_the_ledger(self, lab):
        item = lab.item(attach=True, streams=(0,), units=1)
        assert lab.one(item) == Finished(item.block_id, 1)
        number = following(0, 0, 0, item.trial)
        assert lab.ledger.attachment(item.block_id) == toy_objective.state_of(number)

    def test_every_item_is_reported_exactly_once(self, lab):
        items = [lab.item() for _ in range(5)]
        events = lab.run(*items)
        assert sorted(events, key=lambda event: event.block_id) == [
            Finished(item.block_id, 1) for item in items
        ]

    def test_an_event_names_the_attempt(self, lab):
        item = lab.item(attempt=3)
        assert lab.one(item) == Finished(item.block_id, 3)
        assert lab.ledger.attempt(item.block_id)["attempt"] == 3

    def test_results_are_in_the_ledger_before_the_event(self, lab):
        items = [lab.item() for _ in range(3)]
        executor, waiting, n_events = lab.executor, list(items), 0
        while n_events < 3:
            while waiting and executor.free:
                executor.launch(waiting.pop())
            for event in executor.poll(0.2):
                assert lab.ledger.is_complete(event.block_id)
                assert values_of(lab.ledger, event.block_id) == expected_values(int(event.block_id))
                n_events += 1

    def test_a_complete_block_is_reported_without_running_again(self, lab):
        item = lab.item()
        lab.one(item)
        before = lab.ledger.attempt(item.block_id)
        again = WorkItem(item.block_id, 99, item.params, item.streams, 2)
        assert lab.one(again) == Finished(item.block_id, 2)
        assert lab.ledger.attempt(item.block_id) == before

    def test_launches_take_free_slots_and_events_give_them_back(self, lab):
        executor = lab.executor
        lab.one(lab.item())  # warm, and so as free as it ever is
        slots = executor.free
        assert slots >= 1
        for number in range(slots):
            executor.launch(lab.item())
            assert executor.free == slots - number - 1
        n_events = 0
        while n_events < slots:
            n_events += len(executor.poll(0.2))
            assert executor.free == n_events
        assert executor.poll(0) == []

    def test_what_the_work_raises_is_reported_with_traceback_and_worker(self, lab):
        bad, good = lab.item(raise_at=1), lab.item()
        events = {event.block_id: event for event in lab.run(bad, good)}
        failure = events[bad.block_id]
        assert isinstance(failure, Failed)
        assert failure.reason == "RuntimeError: the toy broke"
        assert "toy_objective.py" in failure.details
        assert ":" in failure.worker
        assert failure.problems == ()
        assert not lab.ledger.is_complete(bad.block_id)
        assert events[good.block_id] == Finished(good.block_id, 1)

    def test_wrong_input_is_reported_with_its_problems(self, lab):
        event = lab.one(lab.item(refuse_at=2))
        assert isinstance(event, Failed)
        assert event.problems == (Problem("weight", None, "too heavy", "a lighter one"),)

    def test_a_replica_with_a_trace_is_lost_and_another_takes_over(self, lab):
        item = lab.item(dirty_at=1, once=str(lab.folder))
        before = lab.executor.model_loads
        event = lab.one(item)
        assert event == Lost(item.block_id, 1, "the toy is not what it was")
        assert not lab.ledger.is_complete(item.block_id)
        again = WorkItem(item.block_id, item.trial, item.params, item.streams, 2)
        assert lab.one(again) == Finished(item.block_id, 2)
        assert values_of(lab.ledger, item.block_id) == expected_values(item.trial)
        assert lab.executor.model_loads >= before  # those of the lost one still count

    @pytest.mark.parametrize(("trouble", "fault"), [("fill", "storage"), ("exhaust", "worker")])
    def test_what_gives_way_under_the_work_is_lost_and_goes_on_from_its_checkpoint(
        self, lab, trouble, fault
    ):
        item = lab.item(**{f"{trouble}_at": 4}, once=str(lab.folder))
        event = lab.one(item)
        assert isinstance(event, Lost)
        assert (event.block_id, event.attempt, event.fault) == (item.block_id, 1, fault)
        assert not lab.ledger.is_complete(item.block_id)
        again = WorkItem(item.block_id, item.trial, item.params, item.streams, 2)
        assert lab.one(again) == Finished(item.block_id, 2)
        assert values_of(lab.ledger, item.block_id) == expected_values(item.trial)

    def test_a_block_that_another_driver_works_on_is_left_to_it(self, lab):
        item = lab.item()
        other = Roster(lab.ledger, "another", "main", time.monotonic)
        other.enter()
        assert Claims(lab.ledger, other.own.name).claim(item.block_id, 1)
        assert lab.one(item) == Taken(item.block_id, 1)
        assert lab.ledger.resume(item.block_id) is None
        other.leave()
        assert lab.one(item) == Finished(item.block_id, 1)

    def test_free_replicas_say_what_they_keep_warm_and_get_it_again(self, lab):
        executor = lab.executor
        for affinity in ("A", "B"):
            item = replace(lab.item(), affinity=affinity)
            assert lab.one(item) == Finished(item.block_id, 1)
        assert len(executor.holds) == executor.free
        assert "B" in executor.holds
        executor.launch(replace(lab.item(), affinity="B"))
        assert "B" not in executor.holds
        while not executor.poll(0.2):
            pass

    def test_models_are_loaded_once_a_replica(self, lab):
        executor = lab.executor
        lab.run(*(lab.item() for _ in range(3 * executor.n_actors)))
        loads = executor.model_loads
        assert loads >= 1
        lab.run(*(lab.item() for _ in range(3 * executor.n_actors)))
        assert executor.model_loads - loads < executor.n_actors  # all that ran are warm

    def test_progress_tells_of_running_blocks_alone(self, lab):
        assert lab.executor.progress() == {}
        item = lab.item()
        lab.executor.launch(item)
        assert lab.executor.progress().keys() <= {item.block_id}
        while not lab.executor.poll(0.2):
            pass
        assert lab.executor.progress() == {}

    def test_preparing_builds_what_the_identity_needs_and_tells_how_far_it_is(self, lab):
        params = toy_params(needs="model")
        told = []
        assert lab.plan.objective.identity(params, lab.plan.site.cache) is None
        lab.executor.prepare(params, lambda *progress: told.append(progress))
        assert lab.plan.objective.identity(params, lab.plan.site.cache) is not None
        assert {stage for stage, _, _ in told} <= {"building", ""}

    def test_wrong_input_found_while_preparing_reaches_the_caller(self, lab):
        with pytest.raises(TypeError):  # there is nothing of that name to build
            lab.executor.prepare(toy_params(), lambda *progress: None)

    def test_a_stop_interrupts_what_runs_and_it_goes_on_elsewhere_to_the_same_numbers(self, lab):
        executor = lab.another(1)
        # long: the stop comes long before its end, wherever it runs
        item = lab.item(units=1000, wait_ms=5, streams=(0,))
        lab.one(lab.item(), executor=executor)
        executor.launch(item)
        executor.ask_to_stop()
        events = []
        deadline = time.monotonic() + _PATIENCE_S
        while not events and time.monotonic() < deadline:
            events = executor.poll(0.2)
        executor.close()
        assert events == [Interrupted(item.block_id, 1)]
        assert not lab.ledger.is_complete(item.block_id)
        checkpoint = lab.ledger.resume(item.block_id)
        assert checkpoint is not None
        assert 1 <= checkpoint[0].position < 1000

        params = {**item.params, "wait_ms": 0}
        again = WorkItem(item.block_id, item.trial, params, item.streams, 1)
        assert lab.one(again) == Finished(item.block_id, 1)
        assert values_of(lab.ledger, item.block_id) == expected_values(item.trial, (0,), 1000)
        assert lab.ledger.attempt(item.block_id)["units"] == 1000 - checkpoint[0].position

    def test_a_cancelled_item_stops_alone_and_can_be_taken_up_again(self, lab):
        executor = lab.another(2)
        lab.run(*(lab.item() for _ in range(2 * executor.free)), executor=executor)  # all are warm
        item = lab.item(units=1000, wait_ms=5, streams=(0,))
        others = [lab.item(units=20, wait_ms=5, streams=(0,)) for _ in range(executor.free - 1)]
        for one in (item, *others):
            executor.launch(one)
        executor.cancel([item.block_id, "no block"])
        events = []
        deadline = time.monotonic() + _PATIENCE_S
        while len(events) < 1 + len(others) and time.monotonic() < deadline:
            events += executor.poll(0.2)
        executor.close()
        expected = [Interrupted(item.block_id, 1), *(Finished(o.block_id, 1) for o in others)]
        assert sorted(events, key=str) == sorted(expected, key=str)
        assert not lab.ledger.is_complete(item.block_id)

        params = {**item.params, "wait_ms": 0}
        again = WorkItem(item.block_id, item.trial, params, item.streams, 1)
        assert lab.one(again) == Finished(item.block_id, 1)
        assert values_of(lab.ledger, item.block_id) == expected_values(item.trial, (0,), 1000)

    def test_cancelling_what_does_not_run_changes_nothing(self, lab):
        done, item = lab.item(), lab.item()
        lab.one(done)
        lab.executor.cancel([done.block_id, item.block_id])
        assert lab.one(item) == Finished(item.block_id, 1)

    def test_closing_is_safe_before_the_start_and_twice(self, lab):
        executor = lab._make(lab.plan, 1)
        executor.close()
        executor.close()
        executor = lab.another(1)
        loads = executor.model_loads
        executor.close()
        executor.close()
        assert executor.model_loads == loads


@pytest.mark.parametrize("lab", [RAY], indirect=True)
class TestRayExecutor:
    """What only an executor of several processes can suffer."""

    def test_a_killed_process_loses_its_block_alone_and_is_replaced(self, lab):
        doomed = lab.item(die_at=2, once=str(lab.folder))
        other = lab.item()
        events = {event.block_id: event for event in lab.run(doomed, other)}
        lost = events[doomed.block_id]
        assert isinstance(lost, Lost)
        assert "Actor" in lost.reason
        assert events[other.block_id] == Finished(other.block_id, 1)
        assert not lab.ledger.is_complete(doomed.block_id)
        lab.all_up(lab.executor)
        assert lab.executor.n_actors == 2

        again = WorkItem(doomed.block_id, doomed.trial, doomed.params, doomed.streams, 2)
        assert lab.one(again) == Finished(doomed.block_id, 2)
        assert values_of(lab.ledger, doomed.block_id) == expected_values(doomed.trial)

    def test_a_process_that_hangs_answers_no_more_and_is_given_up(self, lab):
        item = lab.item(hang_at=2, once=str(lab.folder))
        executor = lab.executor
        lab.one(lab.item())  # an actor is up
        executor.launch(item)
        heard, deadline = [], time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and heard.count(max(heard, default=0)) < 30:
            assert executor.poll(0.1) == []
            heard.append(executor.progress()[item.block_id].heard)
        executor.abandon(item.block_id)
        assert executor.progress() == {}
        again = WorkItem(item.block_id, item.trial, item.params, item.streams, 2)
        assert lab.one(again) == Finished(item.block_id, 2)
        assert values_of(lab.ledger, item.block_id) == expected_values(item.trial)

    def test_processes_that_end_while_they_are_idle_are_replaced_before_they_get_work(self, lab):
        executor = lab.executor
        lab.all_up(executor)
        for member in executor._members:
            os.kill(int(member.place[0].rpartition(":")[2]), signal.SIGKILL)
        deadline = time.monotonic() + _PATIENCE_S
        while executor.free:
            assert time.monotonic() < deadline
            assert executor.poll(0.2) == []
        lab.all_up(executor)
        items = [lab.item(), lab.item()]
        events = lab.run(*items)
        assert {(type(event), event.attempt) for event in events} == {(Finished, 1)}

    def fragile(self, lab, n_actors, n_deaths, *, together=False):
        folder = lab.folder / f"{n_deaths}-deaths"
        folder.mkdir()
        objective = FragileToyObjective(folder=str(folder), n_deaths=n_deaths, together=together)
        executor = lab._make(replace(lab.plan, objective=objective), n_actors)
        executor.start()
        return executor

    def test_processes_that_end_together_while_they_start_are_one_failure(self, lab, monkeypatch):
        monkeypatch.setattr("orchestrator.executors.ray_pool._MOST_FAILED_STARTS", 2)
        executor = self.fragile(lab, 3, n_deaths=3, together=True)
        try:
            lab.all_up(executor)
        finally:
            executor.close()

    def test_processes_that_never_start_are_given_up(self, lab, monkeypatch):
        monkeypatch.setattr("orchestrator.executors.ray_pool._MOST_FAILED_STARTS", 2)
        executor = self.fragile(lab, 1, n_deaths=9)
        try:
            with pytest.raises(WorkerLostError, match="no replica can start"):
                lab.all_up(executor)
        finally:
            executor.close()
