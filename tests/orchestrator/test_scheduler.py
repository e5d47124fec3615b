import sys

import pytest

from orchestrator.errors import Problem
from orchestrator.executors.protocol import Failed, Finished, Interrupted, Lost
from orchestrator.scheduler import (
    BlockPlan,
    BlockState,
    RetryPolicy,
    Scheduler,
    Step,
    TrialOutcome,
    TrialState,
    TrialWork,
)

NOTHING = Step((), ())


class Recorder:
    """An executor that does no work: the test says what becomes of each launch.

    As in a real one, a slot is free again when its event has been taken.
    """

    def __init__(self, slots):
        self.slots = slots
        self.launches = []
        self._running = {}
        self._events = []

    @property
    def free(self):
        return self.slots - len(self._running)

    def launch(self, item):
        assert self.free > 0
        assert item.block_id not in self._running
        self.launches.append(item)
        self._running[item.block_id] = item

    def poll(self, timeout_s):
        events, self._events = self._events, []
        for event in events:
            item = self._running.get(event.block_id)
            if item is not None and item.attempt == event.attempt:
                del self._running[event.block_id]
        return events

    @property
    def launched(self):
        return [item.block_id for item in self.launches]

    @property
    def attempts(self):
        return [item.attempt for item in self.launches]

    def finish(self, *blocks):
        self._report(blocks, Finished)

    def lose(self, *blocks):
        self._report(blocks, Lost, "killed")

    def interrupt(self, *blocks):
        self._report(blocks, Interrupted)

    def fail(self, block, problems=()):
        self._report([block], Failed, "RuntimeError: no", "Traceback ...", "host:1", problems)

    def report(self, event):
        self._events.append(event)

    def _report(self, blocks, kind, *rest):
        for block in blocks:
            self.report(kind(block, self._running[block].attempt, *rest))


def trial(number, *blocks, units=10):
    """A trial of blocks of one stream each."""
    plans = tuple(BlockPlan(block, (i,), units) for i, block in enumerate(blocks))
    return TrialWork(number, {"number": number}, plans)


def lab(*trials, slots=2, complete=(), attempts=3, backoff_s=1.0):
    executor = Recorder(slots)
    scheduler = Scheduler(executor, RetryPolicy(attempts, backoff_s))
    for work in trials:
        scheduler.submit(work, complete)
    return executor, scheduler


def complete(number):
    return TrialOutcome(number, TrialState.COMPLETE)


# -- order --------------------------------------------------------------------------------


def test_blocks_are_launched_in_the_order_of_trials_and_blocks_whatever_was_submitted_first():
    executor, scheduler = lab(trial(1, "c", "d"), trial(0, "a", "b"), slots=4)
    scheduler.step(0)
    assert executor.launched == ["a", "b", "c", "d"]


def test_no_more_is_launched_than_there_are_free_slots():
    executor, scheduler = lab(trial(0, "a", "b", "c"), slots=2)
    scheduler.step(0)
    assert executor.launched == ["a", "b"]
    scheduler.step(1)
    assert executor.launched == ["a", "b"]


def test_a_slot_that_becomes_free_is_filled_in_the_same_pass():
    executor, scheduler = lab(trial(0, "a", "b", "c"), slots=2)
    scheduler.step(0)
    executor.finish("b")
    scheduler.step(1)
    assert executor.launched == ["a", "b", "c"]


def test_a_launch_says_what_to_do():
    executor, scheduler = lab(trial(3, "a", "b"))
    scheduler.step(0)
    item = executor.launches[1]
    assert (item.block_id, item.trial, item.streams, item.attempt) == ("b", 3, (1,), 1)
    assert item.params == {"number": 3}


def test_a_later_trial_submitted_while_others_run_waits_for_its_turn():
    executor, scheduler = lab(trial(0, "a", "b"), slots=1)
    scheduler.step(0)
    scheduler.submit(trial(1, "c"), ())
    executor.finish("a")
    scheduler.step(1)
    executor.finish("b")
    scheduler.step(2)
    assert executor.launched == ["a", "b", "c"]


# -- ends ---------------------------------------------------------------------------------


def test_a_trial_starts_with_its_first_block_and_ends_with_its_last():
    executor, scheduler = lab(trial(0, "a", "b"), slots=1)
    assert scheduler.step(0) == Step((0,), ())
    executor.finish("a")
    assert scheduler.step(1) == NOTHING
    assert not scheduler.is_idle
    executor.finish("b")
    assert scheduler.step(2) == Step((), (complete(0),))
    assert scheduler.is_idle
    assert scheduler.step(3) == NOTHING


def test_trials_that_end_in_one_pass_are_told_by_number():
    executor, scheduler = lab(trial(0, "a"), trial(1, "b"))
    scheduler.step(0)
    executor.finish("b")
    executor.finish("a")
    assert scheduler.step(1).ended == (complete(0), complete(1))


def test_a_trial_whose_blocks_are_all_complete_ends_in_the_first_pass_without_a_start():
    executor, scheduler = lab(trial(0, "a", "b"), complete={"a", "b"})
    assert not scheduler.is_idle  # its end is still to be told
    assert scheduler.step(0) == Step((), (complete(0),))
    assert executor.launches == []
    assert scheduler.is_idle


def test_only_the_blocks_that_are_missing_run():
    executor, scheduler = lab(trial(0, "a", "b", "c"), complete={"b"})
    scheduler.step(0)
    assert executor.launched == ["a", "c"]
    executor.finish("a", "c")
    assert scheduler.step(1).ended == (complete(0),)
    assert scheduler.blocks_executed == 2
    assert scheduler.units_executed == 20


def test_without_trials_there_is_nothing_to_do():
    _, scheduler = lab()
    assert scheduler.is_idle
    assert scheduler.step(0) == NOTHING


# -- lost blocks --------------------------------------------------------------------------


def test_a_lost_block_is_tried_again_after_a_wait_that_doubles():
    executor, scheduler = lab(trial(0, "a"), attempts=4, backoff_s=3)
    scheduler.step(100)
    for lost_at, again_at in [(100, 103), (103, 109), (109, 121)]:  # 3, 6, 12 s
        launches = len(executor.launches)
        executor.lose("a")
        scheduler.step(lost_at)
        scheduler.step(again_at - 0.001)
        assert len(executor.launches) == launches
        scheduler.step(again_at)
        assert len(executor.launches) == launches + 1
    assert executor.attempts == [1, 2, 3, 4]
    executor.finish("a")
    assert scheduler.step(122).ended == (complete(0),)


def test_a_block_that_is_out_of_attempts_fails_its_trial():
    executor, scheduler = lab(trial(0, "a"), attempts=2)
    scheduler.step(0)
    executor.lose("a")
    assert scheduler.step(0) == NOTHING
    scheduler.step(1)
    assert executor.attempts == [1, 2]
    executor.lose("a")
    [outcome] = scheduler.step(1).ended
    assert outcome.state is TrialState.FAILED
    assert outcome.failure is not None
    assert (outcome.failure.attempt, outcome.failure.attempts) == (2, 2)
    assert outcome.failure.reason == "killed"
    assert scheduler.is_idle


def test_with_one_attempt_the_first_loss_is_the_last():
    executor, scheduler = lab(trial(0, "a"), attempts=1)
    scheduler.step(0)
    executor.lose("a")
    assert [outcome.state for outcome in scheduler.step(0).ended] == [TrialState.FAILED]


def test_others_run_while_a_lost_block_waits():
    executor, scheduler = lab(trial(0, "a", "b"), slots=1, backoff_s=5)
    scheduler.step(0)
    executor.lose("a")
    scheduler.step(0)
    assert executor.launched == ["a", "b"]
    executor.finish("b")
    scheduler.step(5)
    assert executor.launched == ["a", "b", "a"]


def test_a_lost_block_that_may_run_again_comes_before_later_ones():
    executor, scheduler = lab(trial(0, "a"), trial(1, "b", "c"), slots=1, backoff_s=1)
    scheduler.step(0)
    executor.lose("a")
    scheduler.step(0)
    executor.finish("b")
    scheduler.step(1)
    assert executor.launched == ["a", "b", "a"]


@pytest.mark.parametrize("kind", ["finish", "fail", "lose", "interrupt"])
def test_events_of_an_attempt_that_was_given_up_are_ignored(kind):
    executor, scheduler = lab(trial(0, "a"))
    scheduler.step(0)
    executor.lose("a")
    scheduler.step(0)
    scheduler.step(1)
    assert executor.attempts == [1, 2]
    stale = {
        "finish": Finished("a", 1),
        "fail": Failed("a", 1, "", "", ""),
        "lose": Lost("a", 1, ""),
        "interrupt": Interrupted("a", 1),
    }
    executor.report(stale[kind])
    assert scheduler.step(2) == NOTHING
    assert scheduler.block_states() == {"a": BlockState.RUNNING}
    assert scheduler.blocks_executed == 0
    executor.finish("a")
    assert scheduler.step(3).ended == (complete(0),)


def test_an_event_is_taken_in_once():
    executor, scheduler = lab(trial(0, "a"))
    scheduler.step(0)
    executor.finish("a")
    executor.report(Finished("a", 1))
    assert scheduler.step(1).ended == (complete(0),)
    assert scheduler.blocks_executed == 1


# -- failures -----------------------------------------------------------------------------


def test_a_raised_exception_fails_the_trial_at_once_with_all_that_is_known():
    executor, scheduler = lab(trial(4, "a"), attempts=3)
    scheduler.step(0)
    problem = Problem("weight", None, "-1", "more")
    executor.fail("a", (problem,))
    [outcome] = scheduler.step(0).ended
    failure = outcome.failure
    assert failure is not None
    assert (outcome.number, outcome.state, failure.trial) == (4, TrialState.FAILED, 4)
    assert (failure.reason, failure.details) == ("RuntimeError: no", "Traceback ...")
    assert (failure.worker, failure.problems) == ("host:1", (problem,))
    assert (failure.attempt, failure.attempts) == (1, 3)
    assert executor.attempts == [1]


def test_a_failure_cancels_what_waits_and_lets_finish_what_runs():
    executor, scheduler = lab(trial(0, "a", "b", "c", "d"), trial(1, "e"), slots=2)
    scheduler.step(0)
    executor.fail("a")
    assert scheduler.step(0).ended == ()  # b still runs
    assert scheduler.block_states() == {
        "a": BlockState.FAILED,
        "b": BlockState.RUNNING,
        "c": BlockState.CANCELLED,
        "d": BlockState.CANCELLED,
        "e": BlockState.RUNNING,
    }
    executor.finish("b", "e")
    ended = scheduler.step(1).ended
    assert [(outcome.number, outcome.state) for outcome in ended] == [
        (0, TrialState.FAILED),
        (1, TrialState.COMPLETE),
    ]
    assert executor.launched == ["a", "b", "e"]
    assert scheduler.block_states()["b"] is BlockState.COMPLETE
    assert scheduler.is_idle


@pytest.mark.parametrize("kind", ["lose", "interrupt"])
def test_what_is_lost_after_a_failure_is_not_tried_again(kind):
    executor, scheduler = lab(trial(0, "a", "b"))
    scheduler.step(0)
    executor.fail("a")
    scheduler.step(0)
    getattr(executor, kind)("b")
    [outcome] = scheduler.step(0).ended
    assert outcome.failure is not None
    assert outcome.failure.reason == "RuntimeError: no"
    assert scheduler.block_states()["b"] is BlockState.CANCELLED
    assert scheduler.is_idle
    scheduler.step(100)
    assert executor.launched == ["a", "b"]


def test_the_first_failure_of_a_trial_is_the_one_that_is_told():
    executor, scheduler = lab(trial(0, "a", "b"))
    scheduler.step(0)
    executor.fail("b")
    executor.report(Failed("a", 1, "ValueError: later", "", ""))
    [outcome] = scheduler.step(0).ended
    assert outcome.failure is not None
    assert outcome.failure.reason == "RuntimeError: no"


def test_a_failure_does_not_wait_for_the_back_off_of_what_it_cancels():
    executor, scheduler = lab(trial(0, "a", "b"), backoff_s=60)
    scheduler.step(0)
    executor.lose("a")
    scheduler.step(0)
    executor.fail("b")
    assert [outcome.number for outcome in scheduler.step(1).ended] == [0]
    assert scheduler.is_idle


# -- stopping -----------------------------------------------------------------------------


def test_a_stopped_scheduler_launches_nothing_more_and_is_idle_when_nothing_runs():
    executor, scheduler = lab(trial(0, "a", "b", "c"), slots=2)
    scheduler.step(0)
    scheduler.stop()
    executor.finish("a")
    assert scheduler.step(1) == NOTHING
    assert not scheduler.is_idle
    executor.interrupt("b")
    assert scheduler.step(2) == NOTHING
    assert scheduler.is_idle
    assert executor.launched == ["a", "b"]
    assert scheduler.block_states() == {
        "a": BlockState.COMPLETE,
        "b": BlockState.WAITING,
        "c": BlockState.WAITING,
    }


def test_a_trial_whose_last_block_finishes_after_the_stop_still_ends():
    executor, scheduler = lab(trial(0, "a"))
    scheduler.step(0)
    scheduler.stop()
    executor.finish("a")
    assert scheduler.step(1).ended == (complete(0),)


def test_an_interruption_costs_no_attempt():
    executor, scheduler = lab(trial(0, "a"), attempts=1)
    scheduler.step(0)
    executor.interrupt("a")
    assert scheduler.step(0) == NOTHING
    scheduler.step(0)
    assert executor.attempts == [1, 1]
    executor.finish("a")
    assert scheduler.step(1).ended == (complete(0),)


# -- twins --------------------------------------------------------------------------------


def test_a_block_that_two_trials_ask_for_runs_once():
    executor, scheduler = lab(trial(0, "a"), trial(1, "a", "b"), slots=3)
    assert scheduler.step(0).started == (0, 1)
    assert executor.launched == ["a", "b"]
    executor.finish("b")
    scheduler.step(10)
    executor.finish("a")
    assert scheduler.step(20).ended == (complete(0),)
    assert scheduler.step(21).ended == (complete(1),)
    assert executor.launched == ["a", "b"]
    assert scheduler.blocks_executed == 2
    assert scheduler.units_executed == 20
    assert scheduler.is_idle


def test_the_twin_of_a_block_that_failed_is_tried_for_its_own_trial():
    executor, scheduler = lab(trial(0, "a"), trial(1, "a"))
    scheduler.step(0)
    executor.fail("a")
    assert [outcome.number for outcome in scheduler.step(1).ended] == [0]
    scheduler.step(2)
    assert [(item.trial, item.attempt) for item in executor.launches] == [(0, 1), (1, 1)]
    executor.finish("a")
    assert scheduler.step(3).ended == (complete(1),)


# -- cost ---------------------------------------------------------------------------------


def lines_for(n_blocks):
    """Run trials of ten blocks each to their end, counting executed lines."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace

    trials = [
        trial(number, *(f"{number}.{i}" for i in range(10))) for number in range(n_blocks // 10)
    ]
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        executor, scheduler = lab(*trials, slots=8)
        ended = []
        while not scheduler.is_idle:
            ended += scheduler.step(0).ended
            executor.finish(*executor._running)
    finally:
        sys.settrace(before)
    assert len(ended) == n_blocks // 10
    return count


def test_a_block_costs_the_same_however_many_there_are():
    few, many = lines_for(200), lines_for(2000)
    assert many < 10.5 * few  # ten times as many
    assert many < 150 * 2000  # lines a block, those of this file among them


# -- what others are told -------------------------------------------------------------------


def test_a_failure_says_how_far_the_block_was_and_where_more_is_written():
    executor, scheduler = lab(trial(4, "a", "b"))
    scheduler.step(0)
    executor.report(Failed("b", 1, "E: no", "Traceback ...", "host:1", (), 7, "/logs/a.log"))
    scheduler.step(1)
    executor.finish("a")
    [outcome] = scheduler.step(2).ended
    failure = outcome.failure
    assert (failure.streams, failure.position, failure.units) == ((1,), 7, 10)
    assert (failure.log, failure.why_final) == (
        "/logs/a.log", "what was raised would be raised again"
    )  # fmt: skip


def test_a_block_lost_for_the_last_time_says_where_and_that_it_was_the_last():
    executor, scheduler = lab(trial(0, "a"), attempts=1)
    scheduler.step(0)
    executor.report(Lost("a", 1, "gone", "host:2", "/logs/b.log"))
    [outcome] = scheduler.step(1).ended
    failure = outcome.failure
    assert (failure.worker, failure.log, failure.position) == ("host:2", "/logs/b.log", None)
    assert failure.why_final == "that was the last attempt"


def test_an_observer_is_told_of_launches_and_of_events_that_count():
    class Observer:
        def __init__(self):
            self.told = []

        def launched(self, item):
            self.told.append(("launched", item.block_id, item.attempt))

        def reported(self, event):
            self.told.append((type(event).__name__, event.block_id, event.attempt))

    executor, observer = Recorder(1), Observer()
    scheduler = Scheduler(executor, RetryPolicy(2, 0.0), observer)
    scheduler.submit(trial(0, "a"), ())
    scheduler.step(0)
    executor.lose("a")
    scheduler.step(1)
    executor.report(Finished("a", 1))  # of the attempt that was lost
    executor.finish("a")
    scheduler.step(2)
    assert observer.told == [
        ("launched", "a", 1), ("Lost", "a", 1), ("launched", "a", 2), ("Finished", "a", 2)
    ]  # fmt: skip
