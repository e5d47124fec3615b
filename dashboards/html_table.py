"""A study's table as HTML."""

from collections.abc import Sequence
from html import escape

from dashboards.arrangement import headline_metrics
from dashboards.look import are_shares, brief, shown, words
from orchestrator.results import Estimate, Row, StudyResults


def render_html_table(results: StudyResults) -> str:
    """Render a row per trial with a complete stream or pruned, in percent.

    Args:
        results: The study, with at least one such trial.

    Returns:
        A ``<table>``; the baseline row has the class ``baseline``.
    """
    rows, metrics = results.listed(), headline_metrics(results)
    primary = results.measure["primary"]
    paths = list(rows[0].trial.params)
    head = ['<th scope="col">trial</th>']
    head += [
        f'<th scope="col" class="param" title="{escape(path)}">{escape(name)}</th>'
        for path, name in zip(paths, _short(paths), strict=True)
    ]
    for metric in metrics:
        head.append(f'<th scope="col">{escape(words(metric))}</th>')
        if metric == primary and results.baseline is not None:
            head.append('<th scope="col">its difference to the baseline</th>')
    body = "\n".join(_row(results, row, paths, metrics) for row in rows)
    return f"<table>\n<thead><tr>{''.join(head)}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def footnote(results: StudyResults) -> str:
    """Say what the table's numbers are."""
    n = max((len(row.trial.streams) for row in results.rows()), default=0)
    level = f"{results.level * 100:g} %"
    if n < 2:
        return "In %; one stream, so there are no intervals."
    return (
        f"In %, mean over {n} streams ± half the {level} interval (Student’s t over streams); "
        f"differences are paired by stream, with their {level} interval; – is undefined."
    )


def _row(results: StudyResults, row: Row, paths: Sequence[str], metrics: Sequence[str]) -> str:
    trial, primary = row.trial, results.measure["primary"]
    name = str(trial.number)
    if trial.label != _swept_label(row):
        name += f" {escape(trial.label)}"
    if trial.baseline:
        name += '<span class="tag">baseline</span>'
    if trial.state != "complete":
        name += f'<span class="tag state">{escape(trial.state)}</span>'
    cells = [f'<th scope="row" title="{escape(trial.label)}">{name}</th>']
    cells += [
        f'<td class="param" title="{escape(shown(trial.params[path]))}">'
        f"{escape(brief(trial.params[path]))}</td>"
        for path in paths
    ]
    for metric in metrics:
        kind = ' class="primary"' if metric == primary else ""
        cells.append(f"<td{kind}>{_value(row.metrics.get(metric))}</td>")
        if metric == primary and results.baseline is not None:
            difference = "" if trial.baseline else _difference(row.difference.get(primary))
            cells.append(f"<td>{difference}</td>")
    kind = ' class="baseline"' if trial.baseline else ""
    return f"<tr{kind}>{''.join(cells)}</tr>"


def _value(estimate: Estimate | None) -> str:
    if estimate is None:
        return '<span class="absent">–</span>'
    scale = 100 if are_shares([estimate.mean]) else 1
    mean = f"{estimate.mean * scale:.1f}"
    if estimate.high is None:
        return mean
    return f"{mean} <small>± {(estimate.high - estimate.mean) * scale:.1f}</small>"


def _difference(estimate: Estimate | None) -> str:
    if estimate is None:
        return '<span class="absent">–</span>'
    scale = 100 if are_shares([estimate.mean]) else 1
    mean = _signed(estimate.mean * scale)
    if estimate.low is None or estimate.high is None:
        return mean
    low, high = _signed(estimate.low * scale), _signed(estimate.high * scale)
    return f"{mean} <small>[{low}, {high}]</small>"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _swept_label(row: Row) -> str:
    """Return the label that says no more than the parameters' own columns."""
    paths = list(row.trial.params)
    values = [shown(value) for value in row.trial.params.values()]
    return " ".join(f"{n}={v}" for n, v in zip(_short(paths), values, strict=True))


def _short(paths: Sequence[str]) -> list[str]:
    """Return as little of each path's end as tells them apart."""
    last = [path.rsplit(".", 1)[-1] for path in paths]
    return [name if last.count(name) == 1 else path for name, path in zip(last, paths, strict=True)]
