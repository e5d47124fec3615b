"""What a study can ask: the one interface between the orchestrator and the work itself."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from orchestrator.errors import Problem

Params = Mapping[str, object]
"""The fully resolved parameters of one trial: nested, JSON-like."""


@dataclass(frozen=True)
class Record:
    """One measured value: the row of the ledger.

    Attributes:
        stream: Number of the replicate.
        position: Place in the stream, counted from 0; -1 for what holds for the whole stream.
        item: Id of what was worked on at that place, or "".
        metric: Name of the metric.
        part: The part of the data that it was measured on (a language, say), or "".
        value: The value; never NaN: what is undefined is absent.
        n: Number of cases behind the value, at least 1.
        seen: Whether that part took part in the training behind the value.
    """

    stream: int
    position: int
    item: str
    metric: str
    part: str
    value: float
    n: int
    seen: bool = False


@dataclass(frozen=True)
class Point:
    """One point of a running curve, for people who watch."""

    stream: int
    metric: str
    step: int
    value: float


@dataclass(frozen=True)
class Segment:
    """What a block has done since its last segment; the state lets it go on from here.

    A state grows with the stream, so it is made only where a checkpoint is written.

    Attributes:
        position: How many units of work are done since the block began; grows strictly.
        total: How many there are.
        records: The new records.
        points: The new points.
        state: Makes opaque bytes, from which ``Worker.run`` continues to the same numbers;
            called before the next segment is asked for, or never.
        attachment: Makes what the block produces beside its records (a translated text, say);
            only the last segment of a block has one.
    """

    position: int
    total: int
    records: tuple[Record, ...]
    points: tuple[Point, ...]
    state: Callable[[], bytes]
    attachment: Callable[[], bytes] | None = None


@dataclass(frozen=True)
class Resume:
    """Where an interrupted block stood: the last segment's position and state."""

    position: int
    state: bytes


Summary = Mapping[str, tuple[float, int]]
"""Per stream: name of a metric, or ``name/part``, to its value and n."""


class Worker(Protocol):
    """The work itself, in the process that owns a device; keeps models and caches warm."""

    loads: int
    """How many models this worker has loaded so far."""

    def run(
        self, params: Params, streams: Sequence[int], resume: Resume | None
    ) -> Iterator[Segment]:
        """Work on one block, yielding a segment wherever it could be taken up again.

        A block that has an attachment and is taken up at its very end yields its last segment
        once more, at the same position, with nothing new in it.
        """
        ...

    def verify(self) -> None:
        """Check that the work left no trace in what is kept warm.

        Raises:
            ReplicaDirtyError: If it did; the replica must be replaced.
        """
        ...


@dataclass(frozen=True)
class Site:
    """Where a worker works.

    Attributes:
        cache: Folder for what can be made again: models, query caches.
        device: ``cpu`` or ``cuda``.
        threads: CPU threads; part of what decides the last bits of a sum.
        cache_gib: The most that the folder may hold.
        origin: The driver's cache, for a worker that may be on another machine; its own may then
            be filled from there, and what it finds on its machine is checked. Else None.
    """

    cache: Path
    device: str
    threads: int
    cache_gib: float = 20.0
    origin: Path | None = None


class Objective(Protocol):
    """A kind of work that studies can name.

    Contract: everything but ``prepare`` and ``open`` is cheap and has no effects. An instance
    pickles, since replicas receive it.
    """

    name: str
    unit: str
    """What one unit of a segment's position is, in the plural: ``edits``."""
    metrics: Mapping[str, str]
    """Headline metrics: name to ``maximize`` or ``minimize``."""
    curves: Collection[str]
    """Those whose points tell early what they will be: the mean of a stream's points so far.

    Where there are any, each step of a stream, from 0, has a point of some metric, and all points
    of a step come in one segment.
    """

    def resolve(self, params: Params) -> tuple[dict[str, object], "list[Problem]"]:
        """Fill in defaults; say everything that is wrong, with places relative to ``params``."""
        ...

    def blocks(self, params: Params) -> tuple[tuple[int, ...], ...]:
        """Partition the trial's streams into blocks; depends on ``params`` alone."""
        ...

    def units(self, params: Params, streams: Sequence[int]) -> int:
        """Return how many units of work a block has."""
        ...

    def affinity(self, params: Params) -> str:
        """Name what a worker keeps warm for a trial: equal for trials that share all of it."""
        ...

    def identity(self, params: Params, cache: Path) -> Mapping[str, object] | None:
        """Return everything that changes a block's records, but its stream numbers.

        Returns:
            Parameters and fingerprints of the models and data behind them; ``None`` while
            something is still to be built by ``prepare``.
        """
        ...

    def prepare(
        self, params: Params, site: Site, progress: Callable[[str, int, int], None]
    ) -> None:
        """Build what ``identity`` needs (a base model, say), or get it from ``site.origin``.

        Of several processes that call it at once on one machine, one builds and the others wait.
        """
        ...

    def open(self, site: Site) -> Worker:
        """Start a worker in this process."""
        ...

    def summarise(
        self, params: Params, records: Sequence[Record]
    ) -> dict[int, dict[str, tuple[float, int]]]:
        """Reduce a block's records to one value per stream and metric."""
        ...

    def dataset(self, params: Params, cache: Path) -> Mapping[str, str]:
        """Name and digest of the data behind a trial, for provenance."""
        ...
