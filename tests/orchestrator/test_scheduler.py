import sys

import pytest

from orchestrator.endurance import RetryPolicy
from orchestrator.errors import Problem
from orchestrator.executors.protocol import Failed, Finished, Interrupted, Lost, Sign, Taken
from orchestrator.scheduler import Scheduler, Step
from orchestrator.trials import BlockPlan, BlockState, TrialOutcome, TrialState, TrialWork

NOTHING = Step((), ())


class Recorder:
    """An executor that does no work: the test says what becomes of each launch.

    As in a real one, a slot is free again when its event has been taken.
    """

    def __init__(self, slots):
        self.slots = slots
        self.launches, self.abandoned, self.cancelled = [], [], []
        self.warm = [""] * slots  # what each slot holds
        self.signs = {}
        self._slot_of = {}
        self._running = {}
        self._events = []

    @property
    def free(self):
        return self.slots - len(self._running)

    @property
    def holds(self):
        return tuple(h for i, h in enumerate(self.warm) if i not in self._slot_of.values())

    def launch(self, item):
        assert self.free > 0
        assert item.block_id not in self._running
        self.launches.append(item)
        self._running[item.block_id] = item
        free = [i for i in range(self.slots) if i not in self._slot_of.values()]
        slot = min(free, key=lambda i: {item.affinity: 0, "": 1}.get(self.warm[i], 2))
        self._slot_of[item.block_id], self.warm[slot] = slot, item.affinity
        self.signs[item.block_id] = Sign(0, 0)

    def abandon(self, block_id):
        self.abandoned.append(block_id)
        self.warm[self._forget(block_id)] = ""

    def progress(self):
        return {block: sign for block, sign in self.signs.items() if block in self._running}

    def _forget(self, block_id):
        del self._running[block_id], self.signs[block_id]
        return self._slot_of.pop(block_id)

    def poll(self, timeout_s):
        events, self._events = self._events, []
        for event in events:
            item = self._running.get(event.block_id)
            if item is not None and item.attempt == event.attempt:
                self._forget(event.block_id)
        return events

    def cancel(self, block_ids):
        self.cancelled += block_ids

    @property
    def launched(self):
        return [item.block_id for item in self.launches]

    @property
    def attempts(self):
        return [item.attempt for item in self.launches]

    def finish(self, *blocks):
        self._report(blocks, Finished)

    def lose(self, *blocks, position=0, fault="worker"):
        self._report(blocks, Lost, "killed", position, fault)

    def hear(self, block, done, heard):
        self.signs[block] = Sign(done, heard)

    def take(self, *blocks):
        self._report(blocks, Taken)

    def interrupt(self, *blocks):
        self._report(blocks, Interrupted)

    def fail(self, block, problems=()):
        self._report([block], Failed, "RuntimeError: no", "Traceback ...", "host:1", problems)

    def report(self, event):
        self._events.append(event)

    def _report(self, blocks, kind, *rest):
        for block in blocks:
            self.report(kind(block, self._running[block].attempt, *rest))


def trial(number, *blocks, units=10, affinity=""):
    """A trial of blocks of one stream each."""
    plans = tuple(BlockPlan(block, (i,), units) for i, block in enumerate(blocks))
    return TrialWork(number, {"number": number}, plans, affinity)


def lab(*trials, slots=2, complete=(), attempts=3, backoff_s=1.0, last_first=False, **policy):
    executor = Recorder(slots)
    retry = RetryPolicy(attempts, backoff_s, **policy)
    scheduler = Scheduler(executor, retry, last_first=last_first)
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


def test_a_block_that_gets_further_each_time_is_never_given_up():
    executor, scheduler = lab(trial(0, "a"), attempts=2, backoff_s=1)
    now_s = 0
    for position in (1, 2, 3, 4):
        scheduler.step(now_s)
        executor.lose("a", position=position)
        assert scheduler.step(now_s) == NOTHING
        now_s += 1  # the first wait again, each time
    scheduler.step(now_s)
    executor.lose("a", position=4)
    [outcome] = scheduler.step(now_s).ended
    assert (outcome.state, outcome.failure.attempt) == (TrialState.FAILED, 2)
    assert len(executor.launches) - 1 == 4


def test_the_wait_for_another_try_is_a_minute_at_most():
    policy = RetryPolicy(attempts=99, backoff_s=1)
    assert [policy.backoff_before(n) for n in (1, 2, 6, 7, 50)] == [1, 2, 32, 60, 60]


def test_a_ledger_that_is_away_is_waited_for_whatever_the_attempts_but_not_for_ever():
    executor, scheduler = lab(trial(0, "a"), attempts=1, backoff_s=0, patience_s=100)
    for now_s in (50, 60, 149.9):
        scheduler.step(now_s)
        executor.lose("a", fault="storage")
        assert scheduler.step(now_s) == NOTHING
    executor.lose("a", fault="storage")
    [outcome] = scheduler.step(150).ended  # 100 s since it was missed first
    assert outcome.state is TrialState.FAILED
    assert outcome.failure.why_final == "its ledger was away for longer than retry.patience_s"


def test_tries_without_a_ledger_are_not_counted_against_the_block():
    executor, scheduler = lab(trial(0, "a"), attempts=2, backoff_s=0)
    for now_s, fault in enumerate(["storage"] * 5 + ["worker"]):
        scheduler.step(now_s)
        executor.lose("a", fault=fault)
        assert scheduler.step(now_s) == NOTHING
    scheduler.step(6)
    executor.lose("a", fault="worker")
    [outcome] = scheduler.step(6).ended
    assert (outcome.failure.attempt, outcome.failure.why_final) == (2, "that was the last attempt")


def test_a_worker_that_is_lost_in_between_ends_the_wait_for_the_ledger():
    executor, scheduler = lab(trial(0, "a"), attempts=9, backoff_s=0, patience_s=10)
    for now_s, fault in [(0, "storage"), (9, "worker"), (11, "storage"), (20, "storage")]:
        scheduler.step(now_s)
        executor.lose("a", fault=fault)
        assert scheduler.step(now_s) == NOTHING
    executor.lose("a", fault="storage")
    assert [outcome.number for outcome in scheduler.step(21).ended] == [0]


# -- replicas that are silent -------------------------------------------------------------


def test_a_replica_is_trusted_until_it_has_been_silent_for_longer_than_agreed():
    executor, scheduler = lab(trial(0, "a"), attempts=2, backoff_s=0, silence_s=6)
    scheduler.step(0)
    for now_s in (2, 4, 6, 8):
        if now_s < 4:
            executor.hear("a", 0, heard=now_s)
        scheduler.step(now_s)  # at 8, six seconds after it was heard
    assert executor.abandoned == []
    scheduler.step(9)
    assert executor.abandoned == ["a"]
    assert executor.attempts == [1, 2]
    for now_s in (10, 12, 14, 15):
        scheduler.step(now_s)
    [outcome] = scheduler.step(17).ended
    assert outcome.failure.reason == "no sign of life for 7 s"
    assert executor.abandoned == ["a", "a"]


def test_a_replica_that_answers_may_not_stand_still_for_ever():
    executor, scheduler = lab(trial(0, "a"), attempts=1, silence_s=5, stall_s=12)
    for now_s in (0, 3, 6, 9, 12, 15):
        executor.hear("a", done=1 if now_s else 0, heard=now_s) if now_s else None
        ended = scheduler.step(now_s).ended
        assert ended == ()
    executor.hear("a", done=1, heard=16)
    [outcome] = scheduler.step(16).ended
    assert outcome.failure.reason == "stood still for 13 s"


def test_a_driver_that_looked_away_holds_nothing_against_its_replicas():
    executor, scheduler = lab(trial(0, "a"), silence_s=6)
    scheduler.step(0)
    executor.hear("a", 0, 1)
    scheduler.step(2)
    scheduler.step(5000)  # the driver was stopped, or its machine asleep
    scheduler.step(5006)
    assert executor.abandoned == []
    scheduler.step(5007)
    assert executor.abandoned == ["a"]


def test_a_late_event_of_a_replica_that_was_given_up_is_ignored():
    executor, scheduler = lab(trial(0, "a"), backoff_s=100, silence_s=1)
    scheduler.step(0)
    executor.hear("a", 0, 1)
    scheduler.step(1)
    scheduler.step(3)
    assert executor.abandoned == ["a"]
    executor.report(Finished("a", 1))
    assert scheduler.step(4) == NOTHING


# -- other drivers ------------------------------------------------------------------------


def test_what_another_driver_works_on_is_asked_for_again_later_at_no_cost():
    executor, scheduler = lab(trial(0, "a", "b"), slots=1, attempts=1)
    scheduler.step(0)
    executor.take("a")
    scheduler.step(0)
    assert executor.launched == ["a", "b"]
    executor.finish("b")
    scheduler.step(1.9)
    assert executor.launched == ["a", "b"]
    scheduler.step(2)
    assert executor.launched == ["a", "b", "a"]
    assert executor.attempts == [1, 1, 1]
    executor.finish("a")
    assert scheduler.step(3).ended == (complete(0),)


def test_a_driver_that_helps_begins_at_the_other_end():
    executor, scheduler = lab(trial(0, "a", "b"), trial(1, "c", "d"), slots=4, last_first=True)
    scheduler.step(0)
    assert executor.launched == ["d", "c", "b", "a"]


# -- what is warm -------------------------------------------------------------------------


def test_a_block_goes_to_a_replica_that_is_warm_for_it_before_earlier_ones_do():
    executor, scheduler = lab(
        trial(0, "a1", affinity="A"),
        trial(1, "b1", affinity="B"),
        trial(2, "a2", "a3", affinity="A"),
        trial(3, "b2", affinity="B"),
    )
    scheduler.step(0)
    assert executor.launched == ["a1", "b1"]  # cold replicas share out what there is
    executor.finish("b1")
    scheduler.step(1)
    executor.finish("a1")
    scheduler.step(2)
    assert executor.launched == ["a1", "b1", "b2", "a2"]
    executor.finish("b2")
    scheduler.step(3)
    assert executor.launched[-1] == "a3"  # nothing is left that it is warm for
    assert executor.warm == ["A", "A"]


def test_cold_replicas_begin_with_what_nobody_keeps_warm():
    executor, scheduler = lab(
        trial(0, "a1", "a2", affinity="A"), trial(1, "b1", affinity="B"), slots=3
    )
    scheduler.step(0)
    assert executor.launched == ["a1", "b1", "a2"]


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


# -- trials that are stopped early --------------------------------------------------------


def pruned(number):
    return TrialOutcome(number, TrialState.PRUNED)


def test_a_pruned_trial_launches_nothing_more_and_ends_when_what_runs_has_stopped():
    executor, scheduler = lab(trial(0, "a", "b", "c"), trial(1, "d"), slots=2)
    scheduler.step(0)
    scheduler.prune(0)
    assert executor.cancelled == ["a", "b"]
    executor.interrupt("a")
    assert scheduler.step(1).ended == ()
    assert executor.launched == ["a", "b", "d"]
    executor.interrupt("b")
    assert scheduler.step(2).ended == (pruned(0),)
    assert scheduler.block_states() == {
        "a": BlockState.CANCELLED,
        "b": BlockState.CANCELLED,
        "c": BlockState.CANCELLED,
        "d": BlockState.RUNNING,
    }


def test_a_pruned_trial_of_which_nothing_runs_ends_at_once():
    executor, scheduler = lab(trial(0, "a"), trial(1, "b"), slots=1)
    scheduler.prune(1)
    assert scheduler.step(0).ended == (pruned(1),)
    executor.finish("a")
    assert scheduler.step(1).ended == (complete(0),)
    assert executor.launched == ["a"]
    assert scheduler.is_idle


def test_a_block_that_ends_all_the_same_leaves_its_trial_pruned():
    executor, scheduler = lab(trial(0, "a"))
    scheduler.step(0)
    scheduler.prune(0)
    executor.finish("a")
    assert scheduler.step(1).ended == (pruned(0),)
    assert scheduler.block_states() == {"a": BlockState.COMPLETE}


def test_a_lost_block_of_a_pruned_trial_is_not_tried_again():
    executor, scheduler = lab(trial(0, "a"), backoff_s=0.0)
    scheduler.step(0)
    scheduler.prune(0)
    executor.lose("a")
    assert scheduler.step(1).ended == (pruned(0),)
    scheduler.step(2)
    assert executor.launched == ["a"]
    assert scheduler.is_idle


def test_a_block_that_fails_before_it_has_stopped_fails_its_pruned_trial():
    executor, scheduler = lab(trial(0, "a"))
    scheduler.step(0)
    scheduler.prune(0)
    executor.fail("a")
    [outcome] = scheduler.step(1).ended
    assert (outcome.state, outcome.failure.reason) == (TrialState.FAILED, "RuntimeError: no")


def test_pruning_a_trial_that_has_ended_changes_nothing():
    executor, scheduler = lab(trial(0, "a"))
    scheduler.step(0)
    executor.finish("a")
    assert scheduler.step(1).ended == (complete(0),)
    scheduler.prune(0)
    assert scheduler.step(2) == NOTHING
    assert executor.cancelled == []


def test_a_revived_trial_goes_on_with_its_count_of_tries():
    executor, scheduler = lab(trial(0, "a", "b"), slots=1, attempts=2, backoff_s=0.0)
    scheduler.step(0)
    scheduler.prune(0)
    executor.lose("a")
    assert scheduler.step(1).ended == (pruned(0),)
    scheduler.revive(0)
    assert not scheduler.is_idle
    scheduler.step(2)
    assert (executor.launched, executor.attempts) == (["a", "a"], [1, 2])
    executor.finish("a")
    scheduler.step(3)
    executor.finish("b")
    assert scheduler.step(4).ended == (complete(0),)


def test_a_block_that_is_lost_every_time_fails_its_trial_however_often_that_is_revived():
    executor, scheduler = lab(trial(0, "a"), attempts=2, backoff_s=0.0)
    for ended in (pruned(0), None):
        scheduler.step(0)
        scheduler.prune(0)
        executor.lose("a")
        [outcome] = scheduler.step(1).ended
        if ended:
            assert outcome == ended
            scheduler.revive(0)
    assert (outcome.state, outcome.failure.attempt) == (TrialState.FAILED, 2)


def test_reviving_a_trial_whose_blocks_are_all_complete_completes_it():
    executor, scheduler = lab(trial(0, "a"))
    scheduler.step(0)
    scheduler.prune(0)
    executor.finish("a")
    assert scheduler.step(1).ended == (pruned(0),)
    scheduler.revive(0)
    assert scheduler.step(2).ended == (complete(0),)
    assert scheduler.is_idle


def test_another_trial_that_asks_the_same_takes_up_what_a_pruned_one_left():
    executor, scheduler = lab(trial(0, "a"), trial(1, "a"), slots=2)
    scheduler.step(0)
    scheduler.prune(0)
    executor.interrupt("a")
    assert scheduler.step(1).ended == (pruned(0),)
    scheduler.step(2)
    assert executor.launched == ["a", "a"]
    executor.finish("a")
    assert scheduler.step(3).ended == (complete(1),)


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
    executor.report(Lost("a", 1, "gone", worker="host:2", log="/logs/b.log"))
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
