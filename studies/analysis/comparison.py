"""`mpn compare`: two trials of the ledger, edit by edit."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich import box
from rich.table import Table

from orchestrator.errors import InputError, Problem, suggestion
from orchestrator.objective import Record
from orchestrator.results import StudyResults, TrialResult
from studies.analysis.comparing import Difference, compare, paired
from studies.analysis.language_tables import MACRO, trial_name
from studies.analysis.tables import title_of
from studies.analysis.typesetting import latex, markdown, percent

_MOST_SHOWN = 5
_PARTS = {"_seen": True, "_unseen": False}
Edit = tuple[int, int, str]
"""Stream, position and id."""


@dataclass(frozen=True)
class Side:
    """One of the two trials."""

    results: StudyResults
    trial: TrialResult

    @property
    def name(self) -> str:
        """Study and number: what a command line says."""
        return f"{self.results.study}:{self.trial.number}"


@dataclass(frozen=True)
class Comparison:
    """What came of comparing two trials.

    Attributes:
        first: The trial compared with.
        second: The one whose gain is shown.
        metric: The metric.
        level: Confidence of the intervals.
        languages: Source languages first.
        macro: On the mean over languages other than the source; None if there are none.
        notes: What a reader must know: how it was resampled, what was left out.
    """

    first: Side
    second: Side
    metric: str
    level: float
    languages: dict[str, Difference]
    macro: Difference | None
    notes: tuple[str, ...]

    @property
    def rows(self) -> dict[str, Difference]:
        """Languages, then the macro mean."""
        return self.languages | ({MACRO: self.macro} if self.macro else {})


def compare_trials(
    first: Side, second: Side, metric: str, level: float, generator: np.random.Generator
) -> Comparison:
    """Compare two trials on the edits that they share.

    Args:
        first: Compared with.
        second: Its gain is shown.
        metric: Any that both have; ``_seen`` and ``_unseen`` count the languages of each edit
            that were seen, or were not, under both trials.
        level: Confidence, in (0, 1).
        generator: Decides the resamples.

    Raises:
        InputError: If they share no edit, edit in different languages, or one of the two has
            not the metric or was pruned.
    """
    sides = (first, second)
    pruned = [side for side in sides if side.trial.pruned_at is not None]
    if pruned:
        wanted = "trials that ran to their ends"
        _refuse([Problem(side.name, None, "was pruned", wanted) for side in pruned])
    records = [side.results.records(side.trial) for side in sides]
    edits = [_edits(found) for found in records]
    common = edits[0] & edits[1]
    if not common:
        _refuse(list(_missing(sides, edits)))
    sources = [_sources(found) for found in records]
    if sources[0] != sources[1]:
        found = " and ".join(" ".join(sorted(s)) or "no language" for s in sources)
        _refuse([Problem("source language", None, found, "compare edits of one language")])
    if any(edits[0] ^ edits[1]):
        whole = {s for s, _, _ in common} - {s for s, _, _ in edits[0] ^ edits[1]}
    else:
        whole = {s for s, _, _ in common}
    kept = common | {(stream, -1, "") for stream in whole}
    values = [_values(found, metric, kept) for found in records]
    pairs = paired(*values)
    if not pairs.cases.any():
        _refuse([_no_metric(metric, records)])
    clustered = any(_hang_together(side.trial) for side in sides)
    targets = [part for part in pairs.parts if part not in sources[0]]
    by_language, macro = compare(
        pairs, targets, clustered=clustered, level=level, generator=generator
    )
    order = sorted(by_language, key=lambda part: (part in targets, part))
    by_language = {part: by_language[part] for part in order}
    notes = tuple(_notes(sides, edits, clustered, len(set(pairs.streams.tolist())), level))
    return Comparison(first, second, metric, level, by_language, macro, notes)


def render_comparison(comparison: Comparison, form: str) -> str:
    """Render a comparison as ``md`` or ``latex`` (percent), ``csv`` or ``json`` (rates)."""
    match form:
        case "md":
            lines = [title(comparison), "", *markdown(*_cells(comparison)), "", *comparison.notes]
            return "\n".join(lines) + "\n"
        case "latex":
            header, cells = _cells(comparison)
            note = " ".join([title(comparison) + ".", *comparison.notes])
            return "\n".join(latex(header, [("", cells)], note)) + "\n"
        case "csv":
            return _csv(comparison)
        case "json":
            content = {
                "first": _named(comparison.first),
                "second": _named(comparison.second),
                "metric": comparison.metric,
                "level": comparison.level,
                "languages": {k: asdict(d) for k, d in comparison.languages.items()},
                "macro": asdict(comparison.macro) if comparison.macro else None,
                "notes": list(comparison.notes),
            }
            return json.dumps(content, allow_nan=False, indent=1) + "\n"
        case _:
            raise ValueError(f"unknown format {form!r}; known are md, json, csv, latex")


def terminal_comparison(comparison: Comparison) -> Table:
    """Return the comparison for a terminal."""
    header, cells = _cells(comparison)
    table = Table(title=title(comparison), title_justify="left", box=box.SIMPLE_HEAD)
    for i, column in enumerate(header):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in cells:
        table.add_row(*row)
    return table


def title(comparison: Comparison) -> str:
    """Say what is compared with what."""
    one, other = (
        f"{s.results.study}:{trial_name(s.trial.number, s.trial.label)}"
        for s in (comparison.first, comparison.second)
    )
    return f"{title_of(comparison.metric)}: B = {other}, A = {one}"


def _cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    header = ["language", "A", "B", "B − A", f"{comparison.level * 100:g} %", "p", "p (Holm)", "n"]
    cells = []
    for name, d in comparison.rows.items():
        ends = "–"
        if d.low is not None and d.high is not None:
            ends = f"[{d.low * 100:+.1f}, {d.high * 100:+.1f}]"
        gain = f"{d.mean * 100:+.1f}"
        numbers = [percent(d.first), percent(d.second), gain, ends, _p(d.p), _p(d.p_holm)]
        cells.append([name, *numbers, str(d.edits)])
    return header, cells


def _csv(comparison: Comparison) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    fields = list(Difference.__dataclass_fields__)
    writer.writerow(["a", "b", "metric", "language", *fields])
    names = [comparison.first.name, comparison.second.name, comparison.metric]
    for language, difference in comparison.rows.items():
        values = asdict(difference)
        writer.writerow(
            [*names, language, *("" if values[f] is None else values[f] for f in fields)]
        )
    return out.getvalue()


def _named(side: Side) -> dict[str, object]:
    return {
        "study": side.results.study,
        "trial": side.trial.number,
        "label": side.trial.label,
    }


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}"


def _edits(records: Sequence[Record]) -> set[Edit]:
    return {(r.stream, r.position, r.item) for r in records if r.position >= 0 and r.item}


def _sources(records: Sequence[Record]) -> frozenset[str]:
    return frozenset(record.part for record in records if record.metric == "reliability")


def _values(
    records: Sequence[Record], metric: str, kept: set[Edit]
) -> dict[Edit, dict[str, tuple[float, int]]]:
    names, seen = _recorded_as(metric, {record.metric for record in records})
    values: dict[Edit, dict[str, tuple[float, int]]] = {}
    for record in records:
        edit = (record.stream, record.position, record.item)
        if record.metric == names and edit in kept and seen in (None, record.seen):
            values.setdefault(edit, {})[record.part] = (record.value, record.n)
    return values


def _recorded_as(metric: str, recorded: set[str]) -> tuple[str, bool | None]:
    """Return the metric whose records a metric is made of, and which of them: seen, unseen, all."""
    for ending, seen in _PARTS.items():
        if metric not in recorded and metric.endswith(ending):
            return metric.removesuffix(ending), seen
    return metric, None


def _hang_together(trial: TrialResult) -> bool:
    """Whether edits of a stream share more than the base model: each other, or languages."""
    streams, pairing = (trial.resolved.get(name) or {} for name in ("streams", "pairing"))
    keeps_languages = pairing.get("languages", 0) != 0 and pairing.get("choice") != "random"
    return streams.get("protocol", "single") != "single" or keeps_languages


def _notes(
    sides: tuple[Side, Side], edits: Sequence[set[Edit]], clustered: bool, n: int, level: float
) -> Iterator[str]:
    if edits[0] != edits[1]:
        more = " and ".join(
            f"{len(own - other)} only in {side.name}"
            for side, own, other in zip(sides, edits, reversed(edits), strict=True)
            if own - other
        )
        yield f"Compared on the {len(edits[0] & edits[1])} edits that both have; {more}."
    how = f"of {n} streams, then of their edits" if clustered else "of edits"
    yield (
        f"In %; paired by edit; {level * 100:g} % percentile interval and two-sided p by bootstrap "
        f"{how}; Holm: corrected over the languages. "
        "Macro: plain mean over the languages other than the source."
    )
    if clustered and n == 1:
        yield "One stream whose edits hang together: no interval, no p."
    elif clustered and n < _MOST_SHOWN:
        yield f"{n} streams are few for a bootstrap: intervals may be too narrow."


def _missing(sides: tuple[Side, Side], edits: Sequence[set[Edit]]) -> Iterator[Problem]:
    for side, own, other in zip(sides, edits, reversed(edits), strict=True):
        absent = sorted(other - own)
        shown = ", ".join(f"{item} (stream {s}, edit {p})" for s, p, item in absent[:_MOST_SHOWN])
        more = f" and {len(absent) - _MOST_SHOWN} more" if len(absent) > _MOST_SHOWN else ""
        found = f"has {len(own)} edits, and misses {shown}{more}"
        yield Problem(
            side.name,
            None,
            found if absent else f"has {len(own)} edits; the other trial has none",
            "compare trials with the same data, base model and streams" if own else "run it first",
        )


def _no_metric(metric: str, records: Sequence[Sequence[Record]]) -> Problem:
    known = sorted(set.intersection(*({r.metric for r in found} for found in records)))
    if metric in known or _recorded_as(metric, set())[0] in known:
        return Problem(metric, None, "is defined on no common edit", f"both have {_list(known)}")
    return Problem("--metric", None, repr(metric), suggestion(metric, known, "Both have"))


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


def _refuse(problems: Sequence[Problem]) -> None:
    raise InputError("the comparison", problems, "Nothing was compared.")
