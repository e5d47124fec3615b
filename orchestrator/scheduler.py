"""The scheduler decides: what runs next, what is tried again, when a trial has ended.

It is stepped: ``step`` makes one pass of decisions and returns. It never sleeps and starts no
thread; what time it is, is an argument.
"""

import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from orchestrator.errors import Problem
from orchestrator.executors.protocol import (
    Event,
    Executor,
    Failed,
    Finished,
    Interrupted,
    Lost,
    WorkItem,
)
from orchestrator.objective import Params

_TWIN_WAIT_S = 0.5


class BlockState(StrEnum):
    """Where a block stands."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TrialState(StrEnum):
    """Where a trial stands."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True)
class BlockPlan:
    """A block of a trial: some of its streams.

    Attributes:
        block_id: Hash of everything that decides its records.
        streams: Its streams.
        units: How many units of work it has.
    """

    block_id: str
    streams: tuple[int, ...]
    units: int


@dataclass(frozen=True)
class TrialWork:
    """What the scheduler needs to know of a trial."""

    number: int
    params: Params
    blocks: tuple[BlockPlan, ...]


@dataclass(frozen=True)
class RetryPolicy:
    """How often a lost block is tried, and how long is waited before: doubling each time."""

    attempts: int = 3
    backoff_s: float = 1.0


@dataclass(frozen=True)
class Failure:
    """Why a trial failed; rendered in six lines.

    Attributes:
        trial: Its number.
        attempt: The try at the block that failed it.
        attempts: The most tries that a block has.
        reason: The cause, in one line.
        worker: Where it ran, or "".
        details: The traceback, or "".
        problems: What is wrong with the user's input, if that is at fault.
        streams: The block's streams.
        position: Units of the block that were done before; None if that is not known.
        units: How many the block has.
        log: File in which the worker said more, or "".
        why_final: Why the block is not tried again, in a few words.
    """

    trial: int
    attempt: int
    attempts: int
    reason: str
    worker: str
    details: str
    problems: tuple[Problem, ...] = ()
    streams: tuple[int, ...] = ()
    position: int | None = None
    units: int = 0
    log: str = ""
    why_final: str = ""


@dataclass(frozen=True)
class TrialOutcome:
    """A trial that has ended."""

    number: int
    state: TrialState
    failure: Failure | None = None


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
    state: BlockState = BlockState.WAITING
    attempt: int = 0


@dataclass
class _Trial:
    work: TrialWork
    blocks: list[_Block]
    n_open: int  # blocks that wait or run
    state: TrialState = TrialState.WAITING
    failure: Failure | None = None


class Observer(Protocol):
    """Is told what the scheduler does, in order."""

    def launched(self, item: WorkItem) -> None:
        """An item was given to the executor."""
        ...

    def reported(self, event: Event) -> None:
        """A launched item has ended, one way or another."""
        ...


class Scheduler:
    """Decides over the trials that were submitted to it, in the order of their numbers."""

    def __init__(
        self, executor: Executor, retry: RetryPolicy, observer: Observer | None = None
    ) -> None:
        """Take the executor that does the work, and who is told of it."""
        self._executor = executor
        self._observer = observer
        self._retry = retry
        self._trials: dict[int, _Trial] = {}
        self._ready: list[tuple[tuple[int, int], _Block]] = []
        self._delayed: list[tuple[float, tuple[int, int], _Block]] = []
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
        blocks = [_Block(plan, work.number, (work.number, i)) for i, plan in enumerate(work.blocks)]
        trial = _Trial(work, blocks, n_open=len(blocks))
        self._trials[work.number] = trial
        self._n_open += len(blocks)
        for block in blocks:
            if block.plan.block_id in complete:
                self._close(block, BlockState.COMPLETE)
            else:
                heapq.heappush(self._ready, (block.place, block))

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
            _, place, block = heapq.heappop(self._delayed)
            heapq.heappush(self._ready, (place, block))
        while self._ready and self._executor.free and not self._stopping:
            _, block = heapq.heappop(self._ready)
            if block.state is not BlockState.WAITING:
                continue  # cancelled with its trial
            if block.plan.block_id in self._finished:  # another trial asked the same
                self._close(block, BlockState.COMPLETE)
                continue
            if block.plan.block_id in self._running:  # the same: wait for how it ends
                heapq.heappush(self._delayed, (now_s + _TWIN_WAIT_S, block.place, block))
                continue
            trial = self._trials[block.trial]
            block.attempt += 1
            block.state = BlockState.RUNNING
            if trial.state is TrialState.WAITING:
                self._started.append(block.trial)
            trial.state = TrialState.RUNNING
            self._running[block.plan.block_id] = block
            item = WorkItem(
                block.plan.block_id,
                block.trial,
                trial.work.params,
                block.plan.streams,
                block.attempt,
            )
            self._executor.launch(item)
            if self._observer is not None:
                self._observer.launched(item)

    def _take_in(self, event: Event, now_s: float) -> None:
        block = self._running.get(event.block_id)
        if block is None or block.attempt != event.attempt:
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
                block.attempt -= 1
                self._wait(block, now_s)
            case Lost() if block.attempt < self._retry.attempts:
                self._wait(block, now_s + self._retry.backoff_s * 2 ** (block.attempt - 1))
            case Lost() | Failed():
                self._fail(block, event)

    def _wait(self, block: _Block, not_before_s: float) -> None:
        if self._trials[block.trial].failure is not None:
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
                block.attempt,
                self._retry.attempts,
                event.reason,
                event.worker,
                raised.details if raised else "",
                raised.problems if raised else (),
                block.plan.streams,
                raised.position if raised else None,
                block.plan.units,
                event.log,
                "what was raised would be raised again" if raised else "that was the last attempt",
            )
        for other in trial.blocks:
            if other.state is BlockState.WAITING:
                self._close(other, BlockState.CANCELLED)
        self._close(block, BlockState.FAILED)

    def _close(self, block: _Block, state: BlockState) -> None:
        """End a block, and its trial with its last one."""
        block.state = state
        trial = self._trials[block.trial]
        trial.n_open -= 1
        self._n_open -= 1
        if trial.n_open == 0:
            trial.state = TrialState.COMPLETE if trial.failure is None else TrialState.FAILED
            self._ended.append(block.trial)
