"""What ``xnli_real`` found, by protocol, beside the figures of a prototype."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.results import Estimate, Row, StudyResults, TrialResult
from studies.analysis.tables import render_table

PROTOCOLS = ("single", "sequential")
NEVER_PAIRED = "never_paired"
_CLG, _CORRECTION = "cross_lingual_generality", "cross_lingual_correction"
_UNSEEN, _LOCALITY = f"{_CLG}_unseen", "locality"

Summary = Mapping[str, tuple[float, int]]
Setting = tuple[int, str]
"""Number of paired languages, and how they are chosen."""

PROTOTYPE: Mapping[Setting, Mapping[str, float]] = {
    setting: dict(zip(("reliability", _CLG, _CORRECTION, _UNSEEN, _LOCALITY), figures, strict=True))
    for setting, figures in {
        (0, "fixed"): (100, 31.9, 8.5, 31.9, 100.00),
        (1, "fixed"): (100, 42.9, 26.3, 38.5, 99.98),
        (2, "fixed"): (100, 54.3, 42.9, 46.7, 99.95),
        (4, "fixed"): (99.5, 70.1, 63.5, 58.3, 99.91),
        (8, "fixed"): (97.4, 86.5, 83.8, 70.3, 99.82),
        (1, "random"): (100, 82.1, 78.4, 64.7, 99.85),
        (2, "random"): (100, 82.6, 79.1, 65.1, 99.84),
    }.items()
}
"""In %. Source: the README beside the base model, ``$MPN_REAL_DATA/README.md``: 96 mistakes out of
480 XNLI test rows, ``single``, the same model, layer, memory weight and number of steps, 2 draws
of languages, random ones out of 7. A study of its own, with other edits: no oracle."""
PROTOTYPE_BEFORE = 28.1
_HALF_A_DIGIT = {_LOCALITY: 0.005}
_ROUNDED = 0.05


@dataclass(frozen=True)
class Comparison:
    """A figure of the prototype's, and ours, in %."""

    setting: Setting
    metric: str
    prototype: float
    ours: Estimate

    @property
    def is_inside(self) -> bool:
        """Whether the prototype's figure, as rounded, lies within our interval."""
        slack = _HALF_A_DIGIT.get(self.metric, _ROUNDED) + 1e-9
        low, high = (self.ours.mean if x is None else x for x in (self.ours.low, self.ours.high))
        return low - slack <= self.prototype <= high + slack

    def to_json(self) -> dict[str, Any]:
        """Return the comparison for programs."""
        languages, choice = self.setting
        return {
            "languages": languages,
            "choice": choice,
            "metric": self.metric,
            "prototype": self.prototype,
            "mean": self.ours.mean,
            "low": self.ours.low,
            "high": self.ours.high,
            "is_inside": self.is_inside,
        }


def of_protocol(results: StudyResults, protocol: str) -> StudyResults:
    """Return the trials of one protocol as a study of its own.

    Its baseline is the protocol's own Transformer-Patcher, and each stream has one metric more:
    cross-lingual generality in the languages that no trial pairs, the same ones in every row.
    """
    trials = []
    for trial in results.trials:
        if trial.resolved["streams"]["protocol"] == protocol:
            never = functools.partial(_with_never_paired, trial.resolved["pairing"]["candidates"])
            trials.append(
                replace(
                    trial,
                    baseline=setting_of(trial) == (0, "fixed"),
                    params={p: v for p, v in trial.params.items() if p != "streams.protocol"},
                    streams={n: never(summary) for n, summary in trial.streams.items()},
                )
            )
    guard = [NEVER_PAIRED, *results.measure["guard"]]
    return replace(results, measure={**results.measure, "guard": guard}, trials=tuple(trials))


def setting_of(trial: TrialResult) -> Setting:
    """Return how a trial pairs languages."""
    pairing = trial.resolved["pairing"]
    return pairing["languages"], pairing["choice"]


def before_the_edits(results: StudyResults) -> Estimate:
    """Estimate cross-lingual generality of the unedited model: the luck that edits start from.

    An edit counts as already right in a language where its correction is undefined.
    """
    streams = next(row.trial.streams for row in results.rows() if row.trial.baseline)
    shares = []
    for summary in streams.values():
        asked = {
            name.removeprefix(f"{_CLG}/"): n
            for name, (_, n) in summary.items()
            if name.startswith(f"{_CLG}/")
        }
        wrong = {language: summary.get(f"{_CORRECTION}/{language}", (0.0, 0)) for language in asked}
        shares.append(sum(1 - wrong[name][1] / n for name, n in asked.items()) / len(asked))
    return Estimate.over(shares, results.level)


def comparisons(single: StudyResults) -> list[Comparison]:
    """Set our figures of single edits beside the prototype's."""
    rows = {setting_of(row.trial): row for row in single.rows()}
    return [
        Comparison(setting, metric, figure, _in_percent(rows[setting].metrics[metric]))
        for setting, figures in PROTOTYPE.items()
        if setting in rows
        for metric, figure in figures.items()
    ]


def markdown(results: StudyResults) -> str:
    """Return the tables of both protocols, and the comparison."""
    return "\n".join(_sections(results))


def _sections(results: StudyResults) -> Iterator[str]:
    for protocol in PROTOCOLS:
        own = of_protocol(results, protocol)
        if not own.rows():
            continue
        yield f"### `{protocol}`\n\n{render_table(_without_twins(own), 'md')}"
        if protocol == "single":
            before = _in_percent(before_the_edits(own))
            yield (
                f"Before the edits CLG is {_interval(before, 1)}, the prototype's "
                f"{PROTOTYPE_BEFORE}. Never paired: CLG in the languages that no trial pairs.\n"
            )
            yield _beside_the_prototype(comparisons(own))


def _beside_the_prototype(found: Sequence[Comparison]) -> str:
    names = {
        _CLG: "CLG",
        _CORRECTION: "correction",
        _UNSEEN: "CLG unseen",
        "reliability": "reliability",
        _LOCALITY: "locality",
    }
    lines = ["### Beside the prototype", ""]
    lines.append(f"| paired languages | {' | '.join(names.values())} |")
    lines.append(f"|{' --- |' * (1 + len(names))}")
    for setting in dict.fromkeys(one.setting for one in found):
        by_metric = {one.metric: one for one in found if one.setting == setting}
        cells = [f"{setting[0]} {setting[1]}", *(_cell(by_metric[metric]) for metric in names)]
        lines.append(f"| {' | '.join(cells)} |")
    n_inside = sum(one.is_inside for one in found)
    lines += [
        "",
        "The prototype's figure, then ours with its 95 % interval, in %; bold: outside of it. "
        f"{n_inside} of {len(found)} are inside. The prototype had other edits, and its own "
        "uncertainty, which is not known: a figure outside is no contradiction by itself. Its "
        "random languages were out of 7, ours are out of 8, so that more are seen: compare CLG "
        "unseen.",
        "",
    ]
    return "\n".join(lines)


def _cell(one: Comparison) -> str:
    digits = 2 if one.metric == _LOCALITY else 1
    figure = f"{one.prototype:.{digits}f}"
    return f"{figure if one.is_inside else f'**{figure}**'}; {_interval(one.ours, digits)}"


def _interval(estimate: Estimate, digits: int) -> str:
    text = f"{estimate.mean:.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def _in_percent(estimate: Estimate) -> Estimate:
    ends = (None if x is None else 100 * x for x in (estimate.low, estimate.high))
    return Estimate(100 * estimate.mean, *ends, estimate.n)


def _without_twins(results: StudyResults) -> StudyResults:
    """Leave out trials whose blocks are an earlier trial's."""
    seen: set[tuple[str, ...]] = set()
    kept = []
    for trial in results.trials:
        if trial.block_ids not in seen:
            seen.add(trial.block_ids)
            kept.append(trial)
    return replace(results, trials=tuple(kept))


def _with_never_paired(candidates: Sequence[str], summary: Summary) -> Summary:
    prefix = f"{_CLG}/"
    values = [
        pair
        for name, pair in summary.items()
        if name.startswith(prefix) and name.removeprefix(prefix) not in candidates
    ]
    if not values:
        return summary
    mean = sum(value for value, _ in values) / len(values)
    return {**summary, NEVER_PAIRED: (mean, sum(n for _, n in values))}


def json_of(results: StudyResults) -> dict[str, Any]:
    """Return everything that :func:`markdown` shows, for programs."""
    views = {protocol: of_protocol(results, protocol) for protocol in PROTOCOLS}
    rows: dict[str, Sequence[Row]] = {name: own.rows() for name, own in views.items()}
    return {
        **{name: [row.to_json() for row in found] for name, found in rows.items()},
        "before": before_the_edits(views["single"]).mean,
        "prototype": [one.to_json() for one in comparisons(views["single"])],
    }
