"""The running value of a trial's metric, read from the ledger while its blocks are worked on."""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from orchestrator.ledger import Ledger


@dataclass(frozen=True)
class PrunedAt:
    """Where on its curve a trial was stopped early.

    Attributes:
        step: The step, counted from 0, that was its last.
        value: Its running value after that.
    """

    step: int
    value: float


class RunningValue:
    """A trial's metric after each step: the mean over its streams of each stream's mean so far.

    It depends on what was measured alone: not on how often, when, or in which order of blocks the
    ledger is read.
    """

    def __init__(
        self, ledger: Ledger, blocks: Collection[str], streams: Collection[int], metric: str
    ) -> None:
        """Follow a trial from its first step.

        Args:
            ledger: Where the points are.
            blocks: Ids of the trial's blocks.
            streams: Numbers of all of its streams, at least one.
            metric: One of the objective's ``curves``.
        """
        self._ledger, self._metric = ledger, metric
        self._positions = dict.fromkeys(blocks, 0)
        self._streams = {number: _Stream() for number in sorted(streams)}
        self._step = 0  # the next one

    def read(self) -> None:
        """Take in the points that are new in the ledger."""
        for block, position in self._positions.items():
            reached = self._ledger.position(block)
            for timed in self._ledger.points(block, behind=position):
                point = timed.point
                values = self._streams[point.stream].values.setdefault(point.step, {})
                values.setdefault(point.metric, point.value)
            self._positions[block] = reached

    def steps(self) -> Iterator[tuple[int, float]]:
        """Yield each further step that all streams have made, once, and the value after it.

        A step at which the metric has been undefined so far in some stream is left out.
        """
        while all(self._step in stream.values for stream in self._streams.values()):
            step, self._step = self._step, self._step + 1
            for stream in self._streams.values():
                stream.add(stream.values[step].get(self._metric))
            means = [stream.total / stream.n for stream in self._streams.values() if stream.n]
            if len(means) == len(self._streams):
                yield step, math.fsum(means) / len(means)


class _Stream:
    def __init__(self) -> None:
        self.values: dict[int, dict[str, float]] = {}  # by step and metric
        self.total, self.n = 0.0, 0  # over the steps that were yielded

    def add(self, value: float | None) -> None:
        if value is not None:
            self.total, self.n = self.total + value, self.n + 1
