"""Work that takes no time, to see what everything around work costs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from orchestrator.errors import Problem
from orchestrator.objective import Params, Point, Record, Resume, Segment, Site

UNITS = 2
DEFAULTS = {"streams": 1, "first": 0, "second": 0}


class TrivialObjective:
    """See :class:`orchestrator.objective.Objective`: a block a stream, two units a block."""

    name = "trivial"
    unit = "units"
    metrics: Mapping[str, str] = {"score": "maximize"}

    def resolve(self, params: Params) -> tuple[dict[str, object], list[Problem]]:
        """Fill in defaults."""
        return {**DEFAULTS, **params}, []

    def blocks(self, params: Params) -> tuple[tuple[int, ...], ...]:
        """One stream a block."""
        return tuple((stream,) for stream in range(int(str(params["streams"]))))

    def units(self, params: Params, streams: Sequence[int]) -> int:
        """Two a stream."""
        return UNITS * len(streams)

    def affinity(self, params: Params) -> str:
        """All is one."""
        return "numbers"

    def identity(self, params: Params, cache: Path) -> Mapping[str, object]:
        """All parameters but the number of streams."""
        return {key: value for key, value in params.items() if key != "streams"}

    def prepare(
        self, params: Params, site: Site, progress: Callable[[str, int, int], None]
    ) -> None:
        """Nothing is to be built."""

    def open(self, site: Site) -> "TrivialWorker":
        """Start a worker."""
        return TrivialWorker()

    def summarise(
        self, params: Params, records: Sequence[Record]
    ) -> dict[int, dict[str, tuple[float, int]]]:
        """One score a stream."""
        return {record.stream: {"score": (record.value, 1)} for record in records}

    def dataset(self, params: Params, cache: Path) -> Mapping[str, str]:
        """Of nothing."""
        return {"nothing": "0" * 12}


class TrivialWorker:
    """See :class:`orchestrator.objective.Worker`."""

    loads = 0

    def run(
        self, params: Params, streams: Sequence[int], resume: Resume | None
    ) -> Iterator[Segment]:
        """Yield a record and a point a unit."""
        for unit in range(resume.position if resume else 0, UNITS * len(streams)):
            stream = streams[unit // UNITS]
            value = (stream % 7) / 7 + unit
            record = Record(stream, unit % UNITS, f"item-{unit}", "score", "", value, 1)
            point = Point(stream, "score", unit % UNITS, value)
            yield Segment(unit + 1, UNITS * len(streams), (record,), (point,), bytes)

    def verify(self) -> None:
        """Nothing is kept."""
