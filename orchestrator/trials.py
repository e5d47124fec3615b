"""Trials and their blocks, as the scheduler and those who read its outcomes speak of them."""

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.errors import Problem
from orchestrator.objective import Params
from orchestrator.redaction import redact


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
    PRUNED = "pruned"


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
    affinity: str = ""


@dataclass(frozen=True)
class Failure:
    """Why a trial failed; rendered in six lines. It may be shown: it holds no credentials.

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", redact(self.reason))
        object.__setattr__(self, "details", redact(self.details))


@dataclass(frozen=True)
class TrialOutcome:
    """A trial that has ended."""

    number: int
    state: TrialState
    failure: Failure | None = None
