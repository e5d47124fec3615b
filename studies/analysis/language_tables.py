"""A study's results by language, in the shape of papers: trials x languages, a block a metric."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from orchestrator.results import Estimate, Row, StudyResults
from studies.analysis.tables import cautions, pruned_note, shown_estimate, title_of
from studies.analysis.typesetting import latex, markdown

MACRO = "macro"
_PARTS = ("seen", "unseen")
_PAPER = ("reliability", "generality", "cross_lingual_generality", "locality")
_LONGEST_LABEL = 48
_NOTE = (
    "CLG: cross-lingual generality. Macro: plain mean over the languages other than the trial's "
    "source. Seen: languages that the pairing drew from; unseen: the others. –: undefined."
)


@dataclass(frozen=True)
class Cell:
    """One trial's metric in one language, or over several.

    Attributes:
        estimate: Mean over streams, with its interval.
        cases: Cases behind it, of all streams and languages.
    """

    estimate: Estimate
    cases: int


@dataclass(frozen=True)
class LanguageTable:
    """Trials by languages.

    Attributes:
        results: The study.
        rows: Its trials with at least one complete stream.
        metrics: One block each.
        languages: Source languages first, then the others by name.
        cells: By number of the trial, metric and column. A column is a language, ``macro``,
            ``seen`` or ``unseen``; what is undefined is absent.
    """

    results: StudyResults
    rows: tuple[Row, ...]
    metrics: tuple[str, ...]
    languages: tuple[str, ...]
    cells: Mapping[tuple[int, str, str], Cell]

    def columns(self, *metrics: str) -> tuple[str, ...]:
        """Return languages, then what is over several of them, that some of the metrics have."""
        found = {column for _, metric, column in self.cells if metric in metrics}
        return tuple(c for c in (*self.languages, MACRO, *_PARTS) if c in found)

    @property
    def note(self) -> str:
        """What the numbers are."""
        n = max((len(row.trial.streams) for row in self.rows), default=0)
        interval = (
            "one stream, so there are no intervals"
            if n < 2
            else f"mean over {n} streams ± half the {self.results.level * 100:g} % interval "
            "(Student's t over streams)"
        )
        notes = [*pruned_note(self.results), *cautions(self.results)]
        return " ".join([f"In %; {interval}. {_NOTE}", *notes])


def metrics_by_language(results: StudyResults) -> list[str]:
    """Return the metrics that a study has by language."""
    names = {
        name.partition("/")[0] for row in results.rows() for name in row.metrics if "/" in name
    }
    return sorted(n for n in names if n.rpartition("_")[0] not in names or not _is_part(n))


def paper_metrics(results: StudyResults) -> list[str]:
    """Return the metrics of the paper's tables, and the study's primary one, that it has."""
    known = metrics_by_language(results)
    return [m for m in dict.fromkeys((*_PAPER, results.measure["primary"])) if m in known]


def language_table(results: StudyResults, metrics: Sequence[str]) -> LanguageTable:
    """Lay a study out by language.

    Args:
        results: The study.
        metrics: Those wanted, out of :func:`metrics_by_language`.

    Returns:
        Estimates over streams. The macro mean is taken within each stream, over the languages
        other than the trial's source, and then estimated over streams.
    """
    rows = results.listed()
    sources = {row.trial.number: source_languages(row) for row in rows}
    cells: dict[tuple[int, str, str], Cell] = {}
    for row in rows:
        for metric in metrics:
            for column, cell in _cells(row, metric, sources[row.trial.number], results.level):
                cells[row.trial.number, metric, column] = cell
    first = sorted(frozenset().union(*sources.values())) if sources else []
    found = {column for _, _, column in cells} - {MACRO, *_PARTS, *first}
    return LanguageTable(results, rows, tuple(metrics), (*first, *sorted(found)), cells)


def source_languages(row: Row) -> frozenset[str]:
    """Return the languages that a trial's edits were asked for in: reliability is in no other."""
    parts = (name.partition("/") for name in row.metrics)
    return frozenset(part for name, _, part in parts if name == "reliability" and part)


def render_language_table(table: LanguageTable, form: str) -> str:
    """Render a table by language.

    Args:
        table: The table.
        form: ``md`` or ``latex`` (percent with half the interval), ``csv`` (long: a line per
            trial, metric and language) or ``json`` (both rates).

    Returns:
        Text, ending in a newline.
    """
    match form:
        case "md":
            lines = []
            for metric in table.metrics:
                columns = table.columns(metric)
                block = markdown(["trial", *columns], _block(table, metric, columns))
                lines += [f"**{title_of(metric)}**", "", *block, ""]
            return "\n".join([*lines, table.note]) + "\n"
        case "latex":
            columns = table.columns(*table.metrics)
            blocks = [(title_of(m), _block(table, m, columns)) for m in table.metrics]
            return "\n".join(latex(["trial", *columns], blocks, table.note)) + "\n"
        case "csv":
            return _csv(table)
        case "json":
            return json.dumps(list(_json(table)), allow_nan=False, indent=1) + "\n"
        case _:
            raise ValueError(f"unknown format {form!r}; known are md, json, csv, latex")


def terminal_language_tables(table: LanguageTable) -> Iterator[Table]:
    """Yield a table for terminals per metric; intervals stand below their means."""
    for metric in table.metrics:
        shown = Table(title=title_of(metric), title_justify="left", box=box.SIMPLE_HEAD, padding=0)
        columns = table.columns(metric)
        for i, column in enumerate(("trial", *columns)):
            shown.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
        for row in _block(table, metric, columns):
            shown.add_row(*(cell.replace(" ± ", "\n± ") for cell in row))
        yield shown


def trial_name(number: int, label: str, state: str = "complete") -> str:
    """Return how people tell a trial: its number and, in short, its label."""
    brief = label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"
    return f"{number} {brief}" + ("" if state == "complete" else f" ({state})")


def _cells(
    row: Row, metric: str, sources: frozenset[str], level: float
) -> Iterator[tuple[str, Cell]]:
    streams = row.trial.streams.values()
    for name, estimate in row.metrics.items():
        head, _, language = name.partition("/")
        if head == metric and language:
            yield language, Cell(estimate, sum(s[name][1] for s in streams if name in s))
    macros, cases = [], 0
    for stream in streams:
        others = [
            pair
            for name, pair in stream.items()
            if name.startswith(f"{metric}/") and name.partition("/")[2] not in sources
        ]
        if others:
            macros.append(math.fsum(value for value, _ in others) / len(others))
            cases += sum(n for _, n in others)
    if macros:
        yield MACRO, Cell(Estimate.over(macros, level), cases)
    for part in _PARTS:
        name = f"{metric}_{part}"
        if name in row.metrics:
            yield part, Cell(row.metrics[name], sum(s[name][1] for s in streams if name in s))


def _block(table: LanguageTable, metric: str, columns: Sequence[str]) -> list[list[str]]:
    rows = []
    for row in table.rows:
        trial = row.trial
        cells = [table.cells.get((trial.number, metric, column)) for column in columns]
        rows.append(
            [
                trial_name(trial.number, trial.label, trial.state),
                *(shown_estimate(cell.estimate if cell else None) for cell in cells),
            ]
        )
    return rows


def _csv(table: LanguageTable) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["trial", "label", "baseline", "metric", "language", "mean", "low", "high", "n", "cases"]
    writer.writerow(head)
    for row in table.rows:
        trial = row.trial
        for metric in table.metrics:
            for column in table.columns(*table.metrics):
                cell = table.cells.get((trial.number, metric, column))
                e = cell.estimate if cell else None
                numbers = (e.mean, e.low, e.high, e.n) if e else (None, None, None, None)
                writer.writerow(
                    [
                        trial.number,
                        trial.label,
                        str(trial.baseline).lower(),
                        metric,
                        column,
                        *("" if x is None else x for x in numbers),
                        cell.cases if cell else "",
                    ]
                )
    return out.getvalue()


def _json(table: LanguageTable) -> Iterator[dict[str, object]]:
    for row in table.rows:
        trial = row.trial
        metrics: dict[str, dict[str, object]] = {}
        for metric in table.metrics:
            for column in table.columns(*table.metrics):
                cell = table.cells.get((trial.number, metric, column))
                if cell is None:
                    continue
                e = cell.estimate
                metrics.setdefault(metric, {})[column] = {
                    "mean": e.mean,
                    "low": e.low,
                    "high": e.high,
                    "n": e.n,
                    "cases": cell.cases,
                }
        yield {
            "trial": trial.number,
            "label": trial.label,
            "baseline": trial.baseline,
            "state": trial.state,
            "source_languages": sorted(source_languages(row)),
            "metrics": metrics,
        }


def _is_part(metric: str) -> bool:
    return metric.rpartition("_")[2] in _PARTS
