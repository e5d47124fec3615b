"""Seconds of calls that take turns, on a machine that others use too."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

Timed = Callable[[], object]


@dataclass(frozen=True)
class Seconds:
    """What a call took.

    Attributes:
        cpu: Processor time of this process; with one thread, what the call takes alone.
        wall: Elapsed.
    """

    cpu: float
    wall: float

    @property
    def own(self) -> float:
        """The one to compare by: processor time, or on a GPU, which has none, elapsed time."""
        return self.wall if torch.cuda.is_available() else self.cpu

    def __sub__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.cpu - other.cpu, self.wall - other.wall)

    def __mul__(self, factor: float) -> "Seconds":
        return Seconds(self.cpu * factor, self.wall * factor)

    def __truediv__(self, divisor: float) -> "Seconds":
        return self * (1 / divisor)


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(call: Timed) -> Seconds:
    """Time one call."""
    synchronise()
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    synchronise()
    return Seconds(time.process_time() - cpu, time.perf_counter() - wall)


def median(times: Sequence[Seconds]) -> Seconds:
    """Return the medians of both."""
    return Seconds(
        statistics.median(t.cpu for t in times), statistics.median(t.wall for t in times)
    )


def take_turns(calls: Sequence[Timed], rounds: int) -> list[Seconds]:
    """Time calls in turns and return the median of each; the caller has warmed them up."""
    turns = [[seconds(call) for call in calls] for _ in range(rounds)]
    return [median(own) for own in zip(*turns, strict=True)]
