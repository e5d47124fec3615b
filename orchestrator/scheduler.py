"""The scheduler decides: what runs next, what is tried again, when a trial has ended.

It is stepped: ``step`` makes one pass of decisions and returns. It never sleeps and starts no
thread; what time it is, is an argument.
"""

import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.endurance import Endurance, RetryPolicy, Vigil
from orchestrator.executors.protocol import (
    Event,
    Executor,
    Failed,
    Finished,
    Interrupted,
    Lost,
    Taken,
    WorkItem,
)
from orchestrator.queueing import ReadyQueue
from orchestrator.trials import (
    BlockPlan,
    BlockState,
    Failure,
    TrialOutcome,
    TrialState,
    TrialWork,
)

_TWIN_WAIT_S = 0.5
_TAKEN_WAIT_S = 2.0
_LOOK_EVERY_S = 1.0
_NOT_LOOKED_S = 10.0  # a driver that looked away for so long knows nothing of who is silent


@dataclass(frozen=True)
class Step:
    """What one pass changed.

    Attributes:
        started: Trials whose first block was launched.
        ended: Trials that ended, in the order of their numbers.
    """

    started: tuple[int, ...]
    ended: tuple[TrialOutcome, ...]


@dataclass
class _Block:
    plan: BlockPlan
    trial: int
    place: tuple[int, int]  # trial and block number: the order in which blocks are launched
    affinity: str
    endurance: Endurance = field(default_factory=Endurance)
    state: BlockState = BlockState.WAITING
    vigil: Vigil | None = None  # while it runs


@dataclass
class _Trial:
    work: TrialWork
    blocks: list[_Block]
    n_open: int  # blocks that wait or run
    state: TrialState = TrialState.WAITING
    failure: Failure | None = None
    pruned: bool = False


class Observer(Protocol):
    """Is told what the scheduler does, in order."""

    def launched(self, item: WorkItem) -> None:
        """An item was given to the executor."""
        ...

    def reported(self, event: Event) -> None:
        """A launched item has ended, one way or another."""
        ...


class Scheduler:
    """Decides over the trials that were submitted to it, in the order of their numbers.

    A replica that keeps warm what a block needs gets the first such block; one that does not,
    the first block whose needs no other replica keeps warm, or else the first of all.
    """

    def __init__(
        self,
        executor: Executor,
        retry: RetryPolicy,
        observer: Observer | None = None,
        *,
        last_first: bool = False,
    ) -> None:
        """Take the executor that does the work.

        Args:
            executor: Runs blocks.
            retry: When to give up.
            observer: Told what becomes of blocks.
            last_first: Begin with the last block of the last trial, to meet another driver.
        """
        self._executor = executor
        self._observer = observer
        self._retry = retry
        self._direction = -1 if last_first else 1
        self._trials: dict[int, _Trial] = {}
        self._ready: ReadyQueue[_Block] = ReadyQueue()
        self._delayed: list[tuple[float, tuple[int, int], _Block]] = []
        self._looked_s = float("-inf")
        self._running: dict[str, _Block] = {}
        self._finished: set[str] = set()
        self._n_open = 0  # blocks that wait or run, of all trials
        self._started: list[int] = []
        self._ended: list[int] = []
        self._stopping = False
        self.blocks_executed = 0
        self.units_executed = 0

    def submit(self, work: TrialWork, complete: Collection[str]) -> None:
        """Add a trial.

        Args:
            work: The trial.
            complete: Ids of its blocks that are complete in the ledger already.
        """
        sign = self._direction
        blocks = [
            _Block(plan, work.number, (sign * work.number, sign * i), work.affinity)
            for i, plan in enumerate(work.blocks)
        ]
        trial = _Trial(work, blocks, n_open=len(blocks))
        self._trials[work.number] = trial
        self._n_open += len(blocks)
        for block in blocks:
            if block.plan.block_id in complete:
                self._close(block, BlockState.COMPLETE)
            else:
                self._push(block)

    def step(self, now_s: float, timeout_s: float = 0.0) -> Step:
        """Make one pass: launch what can run, take in events, end trials.

        Args:
            now_s: The time, on any clock that does not go back.
            timeout_s: How long the executor may wait for something to happen.

        Returns:
            Which trials started, and which ended, since the last pass.
        """
        self._launch(now_s)
        for event in self._executor.poll(timeout_s):
            self._take_in(event, now_s)
        self._look(now_s)
        self._launch(now_s)
        started, self._started = tuple(self._started), []
        ended, self._ended = sorted(self._ended), []
        return Step(
            started,
            tuple(
                TrialOutcome(number, self._trials[number].state, self._trials[number].failure)
                for number in ended
            ),
        )

    def prune(self, number: int) -> None:
        """Stop a trial early; one that has ended already stays as it is.

        Nothing of it is launched any more, and what runs stops at its next checkpoint. It ends
        once nothing of it runs: as pruned, or as failed if a block fails until then.
        """
        trial = self._trials[number]
        if trial.n_open == 0:
            return
        trial.pruned = True
        running = [b.plan.block_id for b in trial.blocks if b.state is BlockState.RUNNING]
        self._cancel_waiting(trial)
        self._executor.cancel(running)

    def revive(self, number: int) -> None:
        """Let a trial that ended as pruned go on after all; blocks keep count of their tries."""
        trial = self._trials[number]
        trial.pruned = False
        cancelled = [b for b in trial.blocks if b.state is BlockState.CANCELLED]
        if not cancelled:
            trial.state = TrialState.COMPLETE
            self._ended.append(number)
        trial.n_open += len(cancelled)
        self._n_open += len(cancelled)
        for block in cancelled:
            trial.state, block.state = TrialState.WAITING, BlockState.WAITING
            self._push(block)

    def stop(self) -> None:
        """Launch nothing more; what runs goes on until it ends or is interrupted."""
        self._stopping = True

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, and nothing can be launched any more."""
        return not (self._running or self._ended) and (self._stopping or self._n_open == 0)

    def block_states(self) -> Mapping[str, BlockState]:
        """Return where every block stands, by id."""
        return {
            block.plan.block_id: block.state
            for trial in self._trials.values()
            for block in trial.blocks
        }

    def _launch(self, now_s: float) -> None:
        while self._delayed and self._delayed[0][0] <= now_s:
            self._push(heapq.heappop(self._delayed)[2])
        while self._executor.free and not self._stopping:
            block = self._next()
            if block is None:
                return
            if block.plan.block_id in self._finished:  # another trial asked the same
                self._close(block, BlockState.COMPLETE)
                continue
            if block.plan.block_id in self._running:  # the same: wait for how it ends
                heapq.heappush(self._delayed, (now_s + _TWIN_WAIT_S, block.place, block))
                continue
            trial = self._trials[block.trial]
            attempt = block.endurance.begin()
            block.state, block.vigil = BlockState.RUNNING, Vigil.of(now_s)
            if trial.state is TrialState.WAITING:
                self._started.append(block.trial)
            trial.state = TrialState.RUNNING
            self._running[block.plan.block_id] = block
            item = WorkItem(
                block.plan.block_id,
                block.trial,
                trial.work.params,
                block.plan.streams,
                attempt,
                block.affinity,
            )
            self._executor.launch(item)
            if self._observer is not None:
                self._observer.launched(item)

    def _push(self, block: _Block) -> None:
        self._ready.push(block.affinity, block.place, block)

    def _next(self) -> _Block | None:
        return self._ready.pop(
            set(self._executor.holds),
            lambda: {block.affinity for block in self._running.values()},
            lambda block: block.state is not BlockState.WAITING,  # cancelled with its trial
        )

    def _look(self, now_s: float) -> None:
        """Give up replicas that are silent, or stand still."""
        since_s = now_s - self._looked_s
        if since_s < _LOOK_EVERY_S:
            return
        self._looked_s = now_s
        for block_id, sign in self._executor.progress().items():
            block = self._running.get(block_id)
            if block is None or block.vigil is None:
                continue
            block.vigil.hear(sign, now_s, looked_away=since_s > _NOT_LOOKED_S)
            complaint = block.vigil.complaint(now_s, self._retry)
            if complaint is not None:
                self._executor.abandon(block_id)
                lost = Lost(block_id, block.endurance.attempt, complaint, sign.done)
                self._take_in(lost, now_s)

    def _take_in(self, event: Event, now_s: float) -> None:
        block = self._running.get(event.block_id)
        if block is None or block.endurance.attempt != event.attempt:
            return  # an attempt that was given up
        del self._running[event.block_id]
        if self._observer is not None:
            self._observer.reported(event)
        match event:
            case Finished():
                self.blocks_executed += 1
                self.units_executed += block.plan.units
                self._finished.add(event.block_id)
                self._close(block, BlockState.COMPLETE)
            case Interrupted():
                block.endurance.undo()
                self._wait(block, now_s)
            case Taken():
                block.endurance.undo()
                self._wait(block, now_s + _TAKEN_WAIT_S)
            case Lost():
                again_s = block.endurance.lose(event, now_s, self._retry)
                if again_s is None:
                    self._fail(block, event)
                else:
                    self._wait(block, again_s)
            case Failed():
                self._fail(block, event)

    def _wait(self, block: _Block, not_before_s: float) -> None:
        trial = self._trials[block.trial]
        if trial.failure is not None or trial.pruned:
            self._close(block, BlockState.CANCELLED)
            return
        block.state = BlockState.WAITING
        heapq.heappush(self._delayed, (not_before_s, block.place, block))

    def _fail(self, block: _Block, event: Lost | Failed) -> None:
        trial = self._trials[block.trial]
        if trial.failure is None:
            raised = event if isinstance(event, Failed) else None
            trial.failure = Failure(
                block.trial,
                max(block.endurance.fruitless, 1),
                self._retry.attempts,
                event.reason,
                event.worker,
                raised.details if raised else "",
                raised.problems if raised else (),
                block.plan.streams,
                raised.position if raised else None,
                block.plan.units,
                event.log,
                _why_final(event),
            )
        self._cancel_waiting(trial)
        self._close(block, BlockState.FAILED)

    def _cancel_waiting(self, trial: _Trial) -> None:
        for block in trial.blocks:
            if block.state is BlockState.WAITING:
                self._close(block, BlockState.CANCELLED)

    def _close(self, block: _Block, state: BlockState) -> None:
        """End a block, and its trial with its last one."""
        block.state = state
        trial = self._trials[block.trial]
        trial.n_open -= 1
        self._n_open -= 1
        if trial.n_open == 0:
            if trial.failure is not None:
                trial.state = TrialState.FAILED
            else:
                trial.state = TrialState.PRUNED if trial.pruned else TrialState.COMPLETE
            self._ended.append(block.trial)


def _why_final(event: Lost | Failed) -> str:
    if isinstance(event, Failed):
        return "what was raised would be raised again"
    if event.fault == "storage":
        return "its ledger was away for longer than retry.patience_s"
    return "that was the last attempt"
