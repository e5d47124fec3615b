"""Points of running curves, each with the time at which it was first measured."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from orchestrator.objective import Point


@dataclass(frozen=True)
class TimedPoint:
    """A point with the time at which it was first measured, in ms since the epoch."""

    point: Point
    timestamp_ms: int


def timed_point(content: Any) -> TimedPoint | None:
    """Read a point back from JSON; None if it is damaged."""
    try:
        values = dict(content)
        timestamp_ms = int(values.pop("timestamp_ms"))
        point = Point(**values)
        numbers = (point.stream, point.step, point.value)
        sound = isinstance(point.metric, str) and all(isinstance(n, int | float) for n in numbers)
        return TimedPoint(point, timestamp_ms) if sound else None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def first_of_each(points: Iterable[TimedPoint]) -> list[TimedPoint]:
    """Keep each point once, as it was measured first."""
    first: dict[tuple[int, str, int], TimedPoint] = {}
    for timed in points:
        key = (timed.point.stream, timed.point.metric, timed.point.step)
        if key not in first or timed.timestamp_ms < first[key].timestamp_ms:
            first[key] = timed
    return list(first.values())
