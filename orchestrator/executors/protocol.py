"""What runs blocks: the one interface of all executors, and the events they report."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from orchestrator.errors import Problem
from orchestrator.objective import Params
from orchestrator.telemetry import Telemetry


@dataclass(frozen=True)
class WorkItem:
    """One try at one block.

    Attributes:
        block_id: What it is, and where its result goes.
        trial: Number of the trial, for messages.
        params: The trial's parameters.
        streams: The streams of the block.
        attempt: Counted from 1.
        affinity: What a replica keeps warm for it; those that hold it already come first.
    """

    block_id: str
    trial: int
    params: Params
    streams: tuple[int, ...]
    attempt: int
    affinity: str = ""


@dataclass(frozen=True)
class Sign:
    """What was last heard of a running block; may be a little old.

    Attributes:
        done: Units done.
        heard: How often its replica has answered; grows as long as it lives.
    """

    done: int
    heard: int


@dataclass(frozen=True)
class Finished:
    """A block is complete in the ledger; somebody else may have run it."""

    block_id: str
    attempt: int


@dataclass(frozen=True)
class Failed:
    """The work raised an exception; trying again would raise it again.

    Attributes:
        block_id: The block.
        attempt: The try.
        reason: One line.
        details: The traceback.
        worker: Where it ran.
        problems: What is wrong with the user's input, if that is at fault.
        position: Units of the block that were done before; None if that is not known.
        log: File in which the worker said more.
    """

    block_id: str
    attempt: int
    reason: str
    details: str
    worker: str
    problems: tuple[Problem, ...] = ()
    position: int | None = None
    log: str = ""


@dataclass(frozen=True)
class Lost:
    """What carried the block gave way; it can be taken up from its checkpoint.

    Attributes:
        block_id: The block.
        attempt: The try.
        reason: One line; it begins with the name of an error and a colon, where there is one.
        position: Units of the block that are kept; a block that gets further each time is no
            danger to what runs it.
        fault: ``worker``: a process or its device. ``storage``: the ledger cannot be reached or
            written, which no replica can help and no block is to blame for.
        worker: Where it ran, if that is known.
        log: File in which the worker said more, if that is known.
    """

    block_id: str
    attempt: int
    reason: str
    position: int = 0
    fault: Literal["worker", "storage"] = "worker"
    worker: str = field(default="", compare=False)
    log: str = field(default="", compare=False)


@dataclass(frozen=True)
class Taken:
    """Another driver's replica works on the block."""

    block_id: str
    attempt: int


@dataclass(frozen=True)
class Interrupted:
    """The block stopped at a checkpoint, or before its first unit, because it was asked to."""

    block_id: str
    attempt: int


Event = Finished | Failed | Lost | Taken | Interrupted
PrepareProgress = Callable[[str, int, int], None]
"""Told about preparation: its stage, the steps done and all of them."""


class Executor(Protocol):
    """Runs work items on replicas that stay warm.

    Contract: ``launch`` is called at most ``free`` times between two calls of ``poll``. Every
    launched item is reported by exactly one event of its attempt. Results are in the ledger
    before the event. Nothing blocks for longer than the timeout of ``poll``, but ``prepare``.
    """

    def start(self) -> None:
        """Get replicas; called once, before anything else."""
        ...

    def prepare(self, params: Params, progress: PrepareProgress) -> None:
        """Let one replica build what the objective's identity needs."""
        ...

    @property
    def free(self) -> int:
        """How many more items can be launched now."""
        ...

    @property
    def holds(self) -> tuple[str, ...]:
        """Return what each of the ``free`` replicas keeps warm: an affinity, or "" for nothing."""
        ...

    def launch(self, item: WorkItem) -> None:
        """Start one item, on a replica that keeps its affinity warm if one is free."""
        ...

    def abandon(self, block_id: str) -> None:
        """Give up the replica that runs a block; no event comes of that attempt any more."""
        ...

    def poll(self, timeout_s: float) -> list[Event]:
        """Return what happened, waiting up to ``timeout_s`` for something to happen."""
        ...

    def progress(self) -> Mapping[str, Sign]:
        """What was last heard of running blocks, by block id."""
        ...

    def cancel(self, block_ids: Iterable[str]) -> None:
        """Let some running items stop at their next checkpoint; others go on.

        Each is still reported once: as ``Interrupted``, or as what it came to before that.
        """
        ...

    def ask_to_stop(self) -> None:
        """Let running items stop at their next checkpoint; each reports ``Interrupted``.

        May be called from a signal handler.
        """
        ...

    def close(self) -> None:
        """Give everything back at once; safe to call twice, and before ``start``."""
        ...

    @property
    def n_actors(self) -> int:
        """How many replicas there are when all are up."""
        ...

    @property
    def telemetry(self) -> Telemetry:
        """Where measurements go."""
        ...

    @property
    def model_loads(self) -> int:
        """How many models all replicas have loaded, those included that are gone."""
        ...
