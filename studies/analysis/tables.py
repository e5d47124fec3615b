"""A study's table: a row per trial, for terminals, papers and programs."""

import csv
import io
import json
from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from orchestrator.identity import canonical_json
from orchestrator.results import Estimate, Row, StudyResults
from studies.analysis.typesetting import latex, markdown, percent

_WIDE = 110
FORMATS = ("md", "json", "csv", "latex")
_TITLES = {
    "cross_lingual_generality": "CLG",
    "cross_lingual_generality_seen": "CLG seen",
    "cross_lingual_generality_unseen": "CLG unseen",
    "cross_lingual_correction": "CL correction",
    "cross_lingual_rephrase": "CL rephrase",
}
_ABBREVIATIONS = (
    "CLG: cross-lingual generality; CL correction: CLG where the base model was wrong; "
    "CL rephrase: rephrases in languages but the source"
)


def headline_metrics(results: StudyResults) -> list[str]:
    """Return the metrics that a reader wants first: the study's own, and what tells them apart.

    Args:
        results: The study.

    Returns:
        The primary metric, its seen and unseen parts, rephrases, then the guards; only those
        that some trial has.
    """
    primary = results.measure["primary"]
    wanted = [
        "reliability",
        primary,
        f"{primary}_seen",
        f"{primary}_unseen",
        "cross_lingual_rephrase",
        *results.measure["guard"],
    ]
    found = {name for row in results.rows() for name in row.metrics}
    return [name for name in dict.fromkeys(wanted) if name in found]


def render_table(results: StudyResults, form: str) -> str:
    """Render the table.

    Args:
        results: The study.
        form: One of :data:`FORMATS`. Markdown and LaTeX give percent with the half width of
            the interval and the paired difference to the baseline; JSON and CSV give rates.

    Returns:
        Text, ending in a newline.
    """
    rows = results.listed()
    match form:
        case "json":
            return json.dumps([row.to_json() for row in rows], allow_nan=False, indent=1) + "\n"
        case "csv":
            return _csv(rows)
        case "latex":
            return _latex(results, rows)
        case "md":
            return _markdown(results, rows)
        case _:
            raise ValueError(f"unknown format {form!r}; known are {', '.join(FORMATS)}")


def table_cells(results: StudyResults, rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the cells of the table for people, in percent."""
    metrics = headline_metrics(results)
    wanted = dict.fromkeys([results.measure["primary"], "cross_lingual_rephrase"])
    compared = [metric for metric in wanted if metric in metrics]
    paths = list(rows[0].trial.params) if rows else []
    spoken = any(isinstance(value, Mapping) for row in rows for value in row.trial.params.values())
    if spoken:  # values too long for a cell: the label tells them apart, and says the others too
        paths = []
    titles, gains = map(title_of, metrics), (f"Δ {title_of(metric)}" for metric in compared)
    header = ["trial", *_short(paths), *titles, *gains]
    cells = []
    for row in rows:
        named = not paths or "=" not in row.trial.label  # an ablation, whose values say less
        name = f"{row.trial.number} {row.trial.label}" if named else f"{row.trial.number}"
        if row.trial.state != "complete":
            name += f" ({row.trial.state})"
        values = [_brief(row.trial.params[path]) for path in paths]
        shown = [shown_estimate(row.metrics.get(metric)) for metric in metrics]
        cells.append([name, *values, *shown, *(_gain(row, m) for m in compared)])
    return header, cells


def terminal_table(results: StudyResults, width: int) -> Table:
    """Return the table for a terminal of so many columns.

    Intervals stand below their means; on a narrow terminal those of the levels are left out, and
    the differences keep theirs.
    """
    header, cells = table_cells(results, results.listed())
    table = Table(title=results.question, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    for i, column in enumerate(header):
        table.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    for row in cells:
        if width < _WIDE:
            row = [cell.partition(" ± ")[0] for cell in row]
        table.add_row(*(_in_lines(cell) for cell in row))
    return table


def _in_lines(cell: str) -> str:
    for before, after in ((" ± ", "\n± "), (" [", "\n["), (", ", ",\n")):
        cell = cell.replace(before, after)
    return cell


def cautions(results: StudyResults) -> list[str]:
    """Say which trials could not be what was asked for."""
    found = []
    for row in results.rows():
        separable = row.metrics.get("separable")
        if separable is not None and separable.mean < 1:
            found.append(
                f"Trial {row.trial.number} ({row.trial.label}): {(1 - separable.mean) * 100:.3g} % "
                "of its edits could not be told from the memory, whose [CLS] vectors at this layer "
                "are too much like theirs; they fail, and were given up after 100 steps unless "
                "every step was asked for."
            )
    return found


def footnote(results: StudyResults) -> str:
    """Say what the numbers are, and what to beware of."""
    return " ".join([_explanation(results), *pruned_note(results), *cautions(results)])


def pruned_note(results: StudyResults) -> list[str]:
    """Say what a pruned trial is, if there is one."""
    if not any(row.trial.pruned_at for row in results.listed()):
        return []
    return ["Pruned: stopped early for its running value, and compared with nothing."]


def _explanation(results: StudyResults) -> str:
    rows = results.rows()
    n = max((len(row.trial.streams) for row in rows), default=0)
    level = f"{results.level * 100:g} %"
    if n < 2:
        return "In %; one stream, so there are no intervals."
    return (
        f"In %, mean over {n} streams ± half the {level} interval (Student's t over streams); "
        f"differences are paired by stream, with their {level} interval. "
        f"Δ: difference to the baseline. {_ABBREVIATIONS}. "
        "Seen: languages that the pairing drew from; unseen: all other target languages."
    )


def _markdown(results: StudyResults, rows: Sequence[Row]) -> str:
    header, cells = table_cells(results, rows)
    return "\n".join([*markdown(header, cells), "", footnote(results)]) + "\n"


def _latex(results: StudyResults, rows: Sequence[Row]) -> str:
    header, cells = table_cells(results, rows)
    return "\n".join(latex(header, [("", cells)], footnote(results))) + "\n"


def _csv(rows: Sequence[Row]) -> str:
    """One line per trial and metric: the long form that every program reads."""
    paths = list(rows[0].trial.params) if rows else []
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    ends = ["mean", "low", "high", "n", "difference", "difference_low", "difference_high"]
    writer.writerow(["trial", "label", "baseline", "state", *paths, "metric", *ends])
    for row in rows:
        trial = row.trial
        values = [_value(trial.params[path]) for path in paths]
        start = [trial.number, trial.label, str(trial.baseline).lower(), trial.state, *values]
        for name, estimate in row.metrics.items():
            difference = _numbers(row.difference.get(name))
            writer.writerow([*start, name, *_numbers(estimate), estimate.n, *difference])
        if not row.metrics:
            writer.writerow([*start, *[""] * (1 + len(ends))])
    return out.getvalue()


def _numbers(estimate: Estimate | None) -> list[float | str]:
    if estimate is None:
        return ["", "", ""]
    return ["" if x is None else x for x in (estimate.mean, estimate.low, estimate.high)]


def shown_estimate(estimate: Estimate | None) -> str:
    """Return an estimate in percent with half its interval; a dash if there is none."""
    if estimate is None:
        return "–"
    half = None if estimate.high is None else estimate.high - estimate.mean
    return percent(estimate.mean, half)


def title_of(metric: str) -> str:
    """Return a metric's name as the head of a column."""
    return _TITLES.get(metric, metric.replace("_", " "))


def _gain(row: Row, metric: str) -> str:
    if row.trial.baseline:
        return "baseline"
    estimate = row.difference.get(metric)
    if estimate is None:
        return "–"
    gain = f"{estimate.mean * 100:+.1f}"
    if estimate.low is None or estimate.high is None:
        return gain
    return f"{gain} [{estimate.low * 100:+.1f}, {estimate.high * 100:+.1f}]"


def _value(value: object) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _brief(value: object) -> str:
    """Return a swept value as people read it; CSV and JSON have it whole."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return _value(value)


def _short(paths: Sequence[str]) -> list[str]:
    """Return as little of each path as tells them apart."""
    last: Mapping[str, str] = {path: path.rsplit(".", 1)[-1] for path in paths}
    names = list(last.values())
    return [last[path] if names.count(last[path]) == 1 else path for path in paths]
