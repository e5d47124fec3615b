"""What a study has found, read from the ledger alone: trials, intervals, paired differences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import stdtrit

from orchestrator.ledger import Ledger
from orchestrator.objective import Record
from orchestrator.timed_points import TimedPoint


@dataclass(frozen=True)
class Estimate:
    """A mean over streams with its interval.

    Attributes:
        mean: Mean over streams.
        low: Lower end of the interval, Student's t over streams; None with one stream.
        high: Upper end.
        n: Number of streams.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    @staticmethod
    def over(values: Sequence[float], level: float) -> "Estimate":
        """Estimate the mean of independent values.

        Args:
            values: One per stream, at least one.
            level: Confidence, in (0, 1).
        """
        n = len(values)
        mean = math.fsum(values) / n
        if n == 1:
            return Estimate(mean, None, None, n)
        spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
        half = float(stdtrit(n - 1, (1 + level) / 2)) * spread / math.sqrt(n)
        return Estimate(mean, mean - half, mean + half, n)


@dataclass(frozen=True)
class TrialResult:
    """A trial and what is known of it.

    Attributes:
        number: Place in the study.
        label: Short name.
        baseline: Whether the others are compared with it.
        state: As the driver last knew it.
        params: The swept values.
        resolved: All parameters, nested.
        block_ids: Its blocks.
        streams: Metric values of each stream that is complete.
        failure: Why it failed, or None.
        pruned_at: ``step`` and running ``value`` at which it was stopped early, or None. Such a
            trial has no complete streams to compare, whatever is in the ledger.
    """

    number: int
    label: str
    baseline: bool
    state: str
    params: Mapping[str, Any]
    resolved: Mapping[str, Any]
    block_ids: tuple[str, ...]
    streams: Mapping[int, Mapping[str, tuple[float, int]]]
    failure: str | None
    pruned_at: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Row:
    """A row of a study's table: a trial with estimates."""

    trial: TrialResult
    metrics: Mapping[str, Estimate]
    difference: Mapping[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        """Return the row as ``mpn table --format json`` prints it."""
        return {
            "trial": self.trial.number,
            "baseline": self.trial.baseline,
            "label": self.trial.label,
            "state": self.trial.state,
            "pruned_at": self.trial.pruned_at,
            "params": dict(self.trial.params),
            "metrics": {
                name: {"mean": e.mean, "low": e.low, "high": e.high, "n": e.n}
                for name, e in self.metrics.items()
            },
            "difference": {
                name: {"mean": e.mean, "low": e.low, "high": e.high}
                for name, e in self.difference.items()
            },
        }


@dataclass(frozen=True)
class StudyResults:
    """Everything that tables and figures need of a study.

    Attributes:
        study: Its name.
        question: What it asks.
        expect: What was expected, or None.
        measure: The study file's ``measure`` part.
        trials: All trials, by number.
    """

    study: str
    question: str
    expect: str | None
    measure: Mapping[str, Any]
    trials: tuple[TrialResult, ...]
    ledger: Ledger

    @staticmethod
    def load(ledger: Ledger, study: str) -> "StudyResults | None":
        """Read a study from the ledger; None if it is not there."""
        memory = ledger.study(study)
        if memory is None:
            return None
        trials = []
        for trial in memory["trials"]:
            streams: dict[int, Mapping[str, tuple[float, int]]] = {}
            pruned_at = trial.get("pruned_at")
            ids = [block["block_id"] for block in trial["blocks"]]
            for result in ledger.results(ids if pruned_at is None else ()).values():
                streams |= result.summaries
            trials.append(
                TrialResult(
                    trial["number"],
                    trial["label"],
                    trial["baseline"],
                    trial["state"],
                    trial["changes"],
                    trial["params"],
                    tuple(ids),
                    streams,
                    trial.get("failure"),
                    pruned_at,
                )
            )
        spec = memory["spec"]
        return StudyResults(
            study, spec["question"], spec.get("expect"), spec["measure"], tuple(trials), ledger
        )

    @property
    def level(self) -> float:
        """Confidence of the intervals."""
        return float(self.measure["interval"]["level"])

    @property
    def baseline(self) -> TrialResult | None:
        """The trial that the others are compared with."""
        return next((trial for trial in self.trials if trial.baseline), None)

    def rows(self) -> tuple[Row, ...]:
        """Return a row for each trial that has at least one complete stream."""
        return tuple(
            Row(trial, estimates(trial.streams, self.level), self._difference(trial))
            for trial in self.trials
            if trial.streams
        )

    def listed(self) -> tuple[Row, ...]:
        """Return the rows, and one without estimates for each pruned trial, by number."""
        pruned = (Row(trial, {}, {}) for trial in self.trials if trial.pruned_at is not None)
        return tuple(sorted([*self.rows(), *pruned], key=lambda row: row.trial.number))

    def records(self, trial: TrialResult) -> list[Record]:
        """Return the records of a trial's complete blocks."""
        return self.ledger.records_of(trial.block_ids)

    def points(self, trial: TrialResult) -> list[TimedPoint]:
        """Return the points of a trial's running curves."""
        return self.ledger.points_of(trial.block_ids)

    def _difference(self, trial: TrialResult) -> dict[str, Estimate]:
        baseline = self.baseline
        if baseline is None or trial.baseline:
            return {}
        return paired_differences(trial.streams, baseline.streams, self.level)


Streams = Mapping[int, Mapping[str, tuple[float, int]]]
"""Number of a stream to its summary: name of a metric to value and n."""


def estimates(streams: Streams, level: float) -> dict[str, Estimate]:
    """Estimate each metric over the streams in which it is defined."""
    summaries = [streams[stream] for stream in sorted(streams)]
    return {
        name: Estimate.over([s[name][0] for s in summaries if name in s], level)
        for name in _names(streams)
    }


def paired_differences(trial: Streams, baseline: Streams, level: float) -> dict[str, Estimate]:
    """Estimate trial minus baseline, stream by stream: both saw the same data in each.

    A metric, or a stream, that one of the two does not have is left out.
    """
    common = sorted(set(trial) & set(baseline))
    differences = {}
    for name in _names(trial):
        values = [
            trial[stream][name][0] - baseline[stream][name][0]
            for stream in common
            if name in trial[stream] and name in baseline[stream]
        ]
        if values:
            differences[name] = Estimate.over(values, level)
    return differences


def _names(streams: Streams) -> list[str]:
    return sorted({name for summary in streams.values() for name in summary})
