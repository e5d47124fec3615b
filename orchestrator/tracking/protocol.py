"""What a tracker mirrors of a study, and the tracker that mirrors nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.timed_points import TimedPoint

DIFFERENCE = "difference."
"""What precedes a metric's name where the value is its difference to the baseline."""


@dataclass(frozen=True)
class StudyHeader:
    """A study, as its mirror shows it.

    Attributes:
        name: Its name.
        question: What it asks.
        expect: What was expected, or None.
        definition: Hash of what decides its trials; another definition is another parent run.
        tags: Provenance and whatever else describes the study.
        span_ms: When it began and ended, for a mirror that is made afterwards; None for now.
    """

    name: str
    question: str
    expect: str | None
    definition: str
    tags: Mapping[str, str]
    span_ms: tuple[int, int] | None = None


@dataclass(frozen=True)
class TrialHeader:
    """A trial, as its mirror shows it.

    Attributes:
        trial_id: Hash of its parameters.
        number: Its place in the study.
        label: Short name.
        baseline: Whether the others are compared with it.
        params: Flat parameters; the same names in every trial of a study.
        datasets: Name and digest of the data behind it.
        started_ms: When it began, for a mirror that is made afterwards; None for now.
    """

    trial_id: str
    number: int
    label: str
    baseline: bool
    params: Mapping[str, str]
    datasets: Mapping[str, str]
    started_ms: int | None = None


@dataclass(frozen=True)
class TrialEnd:
    """How a trial ended.

    Attributes:
        complete: Whether it did what it should.
        metrics: Final values by name.
        points: Its running curves.
        timestamp_ms: When its last block ended; the same whenever it is mirrored.
        failure: Why it failed, or None.
        pruned: Whether it was stopped early, and nothing is wrong with it.
    """

    complete: bool
    metrics: Mapping[str, float]
    points: Sequence[TimedPoint]
    timestamp_ms: int
    failure: str | None
    pruned: bool = False

    @property
    def state(self) -> str:
        """``complete``, ``pruned`` or ``failed``."""
        if self.complete:
            return "complete"
        return "pruned" if self.pruned else "failed"


class Tracker(Protocol):
    """A mirror of a study for people.

    Contract: every call may be repeated, also by a later process, and leaves what one call
    leaves. A tracker that cannot be reached raises; the sweep goes on without it.
    """

    def open(self, study: StudyHeader) -> None:
        """Begin, or go on with, the mirror of a study."""
        ...

    def start_trial(self, trial: TrialHeader) -> None:
        """Show a trial as running."""
        ...

    def finish_trial(self, trial: TrialHeader, end: TrialEnd) -> None:
        """Show a trial as ended, with everything it found."""
        ...

    def finish_study(
        self,
        state: str,
        metrics: Mapping[str, Mapping[str, float]],
        artifacts: Mapping[str, str],
    ) -> None:
        """Close the study.

        Args:
            state: ``done``, ``failed`` or ``interrupted``.
            metrics: Per trial id, values that need the whole study (paired differences).
            artifacts: File name to text: tables and pages.
        """
        ...


class NullTracker:
    """Mirrors nothing."""

    def open(self, study: StudyHeader) -> None:
        """Do nothing."""

    def start_trial(self, trial: TrialHeader) -> None:
        """Do nothing."""

    def finish_trial(self, trial: TrialHeader, end: TrialEnd) -> None:
        """Do nothing."""

    def finish_study(
        self,
        state: str,
        metrics: Mapping[str, Mapping[str, float]],
        artifacts: Mapping[str, str],
    ) -> None:
        """Do nothing."""
