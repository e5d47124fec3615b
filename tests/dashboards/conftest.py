"""Small studies in a real ledger, with numbers that can be checked by hand."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.ledger import Ledger
from orchestrator.objective import Point, Record, Segment
from orchestrator.results import StudyResults

GENERALITY = "cross_lingual_generality"


@dataclass
class Trial:
    """A trial to write.

    Attributes:
        params: The swept values.
        streams: Stream to metrics; None where the block is not complete.
        seen: Stream to the languages that were seen in it.
        points: Stream to (metric, step, value).
    """

    params: Mapping[str, object]
    streams: Mapping[int, Mapping[str, float] | None]
    seen: Mapping[int, Sequence[str]] = field(default_factory=dict)
    points: Mapping[int, Sequence[tuple[str, int, float]]] = field(default_factory=dict)
    label: str | None = None
    state: str = "complete"
    failure: str | None = None
    pruned_at: Mapping[str, float] | None = None


MakeStudy = Callable[..., StudyResults]


@pytest.fixture
def make_study(tmp_path: Path) -> MakeStudy:
    """Write a study.

    The level is 50 %: over two streams, Student's t is then 1, and the interval reaches from
    one stream's value to the other's.
    """

    def make(
        trials: Sequence[Trial],
        *,
        name: str = "small",
        question: str = "Does it carry over?",
        expect: str | None = None,
        guard: Sequence[str] = ("locality",),
        protocol: str = "single",
        ablate: Mapping[str, object] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> StudyResults:
        ledger = Ledger(str(tmp_path / "ledger"))
        remembered = [_write(ledger, i, trial, protocol) for i, trial in enumerate(trials)]
        measure = {"primary": GENERALITY, "guard": list(guard), "interval": {"level": 0.5}}
        spec: dict[str, Any] = {"question": question, "expect": expect, "measure": measure}
        content = {"spec": spec | {"ablate": ablate or {}}, "unit": "edits", **(more or {})}
        ledger.remember_study(name, {**content, "trials": remembered})
        results = StudyResults.load(ledger, name)
        assert results is not None
        return results

    return make


def _write(ledger: Ledger, number: int, trial: Trial, protocol: str) -> dict[str, object]:
    blocks = []
    for stream, metrics in trial.streams.items():
        block_id = f"{number:02d}{stream:02d}"
        blocks.append({"block_id": block_id, "streams": [stream], "units": 2})
        points = tuple(Point(stream, *point) for point in trial.points.get(stream, ()))
        if points:
            ledger.checkpoint(block_id, Segment(1, 2, (), points, bytes), 1)
        if metrics is None:
            continue
        seen = trial.seen.get(stream, ())
        records = [
            Record(stream, 0, "e", name, part, value, 1, name == GENERALITY and part in seen)
            for metric, value in metrics.items()
            for name, _, part in [metric.partition("/")]
            if part
        ]
        summary = {metric: (value, 1) for metric, value in metrics.items()}
        attempt = {"device": "cpu", "python": "3.11.7", "worker": "here:1"}
        ledger.complete(block_id, records, {stream: summary}, attempt)
    shown = " ".join(f"{path.rsplit('.', 1)[-1]}={value}" for path, value in trial.params.items())
    return {
        "number": number,
        "label": trial.label or shown or "base",
        "baseline": number == 0,
        "params": {"streams": {"protocol": protocol}},
        "changes": dict(trial.params),
        "state": trial.state,
        "failure": trial.failure,
        "pruned_at": trial.pruned_at,
        "blocks": blocks,
    }


@pytest.fixture
def trial_class() -> type[Trial]:
    """How to say what a trial found."""
    return Trial


@pytest.fixture
def swept(make_study: MakeStudy) -> StudyResults:
    """Two lengths by two ways of choosing, each over two streams: means 0.3, 0.4, 0.6, 0.8."""
    cells = itertools.product((0, 2), ("fixed", "fresh"))
    generality = [(0.2, 0.4), (0.4, 0.4), (0.5, 0.7), (0.7, 0.9)]
    return make_study(
        [
            Trial(
                {"pairing.languages": languages, "pairing.choice": choice},
                {i: {GENERALITY: value, "locality": 0.9} for i, value in enumerate(values)},
            )
            for (languages, choice), values in zip(cells, generality, strict=True)
        ]
    )
