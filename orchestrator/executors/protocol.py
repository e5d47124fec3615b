"""What runs blocks: the one interface of all executors, and the events they report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

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
    """

    block_id: str
    trial: int
    params: Params
    streams: tuple[int, ...]
    attempt: int


@dataclass(frozen=True)
class Finished:
    """A block is complete in the ledger."""

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
    """Whatever ran the block is gone; another replica can take it up from its checkpoint.

    Attributes:
        block_id: The block.
        attempt: The try.
        reason: One line; it begins with the name of an error and a colon, where there is one.
        worker: Where it ran, if that is known.
        log: File in which the worker said more, if that is known.
    """

    block_id: str
    attempt: int
    reason: str
    worker: str = field(default="", compare=False)
    log: str = field(default="", compare=False)


@dataclass(frozen=True)
class Interrupted:
    """The block stopped at a checkpoint because it was asked to."""

    block_id: str
    attempt: int


Event = Finished | Failed | Lost | Interrupted
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

    def launch(self, item: WorkItem) -> None:
        """Start one item."""
        ...

    def poll(self, timeout_s: float) -> list[Event]:
        """Return what happened, waiting up to ``timeout_s`` for something to happen."""
        ...

    def progress(self) -> Mapping[str, int]:
        """Units done of the running blocks, by block id; may be a little old."""
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
