"""The primary metric against what a study varies, and all metrics along a stream of edits."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards import look
from dashboards.arrangement import Grid, Mark, grid, marks, number, variants
from orchestrator.results import Estimate, Row, StudyResults

_DODGE = 0.014  # of the axis, between lines, so that intervals stand side by side
_RETENTION = "edit_retention_so_far"
_ALONG = {
    _RETENTION: "Earlier edits that still hold",
    "cross_lingual_generality": "Cross-lingual generality of the newest edit",
    "locality": "Locality",
}
_NO_STREAM = (
    "Every edit of this study was made on the fresh base model (protocol: single), so that edits "
    "cannot wear each other out: there is nothing to follow along a stream."
)
_NO_CURVE = "No curve along a stream was recorded."


def ablation_curve(results: StudyResults) -> go.Figure:
    """Show the primary metric, and its seen and unseen parts, against what is varied.

    Args:
        results: The study.

    Returns:
        A panel per variant of the metric: against the first swept number, with a line per
        combination of the other parameters; where there is no such number, a dot per trial.
        Dotted lines are the baseline.
    """
    rows, panels = results.rows(), variants(results)
    if not rows or not panels:
        return look.note(look.NOTHING)
    laid = grid(results)
    figure = _dots(rows, panels) if laid is None else _lines(laid, panels)
    _add_baseline(figure, rows, list(panels), vertical=laid is None)
    figure.update_annotations(font={"size": 13, "color": look.INK, "weight": 600})
    return figure


def stream_curves(results: StudyResults) -> go.Figure:
    """Show how edits fare as more follow: a line per trial, with its interval over streams.

    Args:
        results: The study.

    Returns:
        Panels for retention of the edits so far, cross-lingual generality and locality, against
        the number of edits made; a sentence if no trial edits sequentially.
    """
    rows, drawn_as = results.rows(), marks(results)
    if not rows:
        return look.note(look.NOTHING)
    found: dict[str, list[tuple[Row, dict[int, Estimate]]]] = defaultdict(list)
    for row in rows:
        along = _along(results, row)
        if _RETENTION in along:
            for metric in _ALONG.keys() & along.keys():
                found[metric].append((row, along[metric]))
    panels = [metric for metric in _ALONG if metric in found]
    if not panels:
        return look.note(_NO_STREAM if all(map(_is_single, rows)) else _NO_CURVE)
    figure = make_subplots(
        rows=len(panels),
        shared_xaxes=True,
        vertical_spacing=0.09,
        subplot_titles=[_ALONG[metric] for metric in panels],
    )
    for i, metric in enumerate(panels, start=1):
        for row, curve in found[metric]:
            for trace in _band(row, metric, curve, drawn_as[row.trial.number], legend=i == 1):
                figure.add_trace(trace, row=i, col=1)
        drawn = [estimate for _, curve in found[metric] for estimate in curve.values()]
        figure.update_yaxes(**look.value_axis(drawn), row=i, col=1)
    figure.update_layout(
        template=look.TEMPLATE,
        height=110 + 215 * len(panels),
        legend={"y": 1, "yanchor": "top", "title": {"text": "trial"}},
    )
    figure.update_xaxes(title_text="edits made", row=len(panels), col=1)
    figure.update_annotations(
        font={"size": 13, "color": look.INK, "weight": 600}, x=0, xanchor="left"
    )
    return figure


def _lines(laid: Grid, panels: Mapping[str, str]) -> go.Figure:
    n_columns = min(2, len(panels))
    n_rows = math.ceil(len(panels) / n_columns)
    figure = make_subplots(
        rows=n_rows,
        cols=n_columns,
        shared_yaxes="all",
        horizontal_spacing=0.06,
        vertical_spacing=0.17,
        subplot_titles=[look.escaped(name) for name in panels.values()],
    )
    drawn: list[Estimate] = []
    named: set[str] = set()
    for place, metric in enumerate(panels):
        for i, line in enumerate(laid.lines):
            rows = [row for row in line.rows if metric in row.metrics]
            if not rows:
                continue
            estimates = [row.metrics[metric] for row in rows]
            drawn += estimates
            colour = look.PALETTE[i % len(look.PALETTE)]
            name = line.name
            figure.add_scatter(
                x=[_dodged(laid, number(row, laid.path), i) for row in rows],
                y=[estimate.mean for estimate in estimates],
                error_y=look.error_bars(estimates, colour),
                mode="lines+markers",
                line={"color": colour, "width": 2},
                marker={"symbol": look.SYMBOLS[i], "size": 8, "color": colour},
                name=look.escaped(name),
                legendgroup=name,
                showlegend=bool(name) and name not in named,
                hovertext=[
                    look.hover(row, [(look.words(metric), row.metrics[metric])]) for row in rows
                ],
                hovertemplate="%{hovertext}<extra></extra>",
                row=place // n_columns + 1,
                col=place % n_columns + 1,
            )
            named.add(name)
    figure.update_layout(
        template=look.TEMPLATE,
        height=90 + 265 * n_rows,
        margin={"t": 68 if named - {""} else 36},
        legend={"orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top"},
    )
    ticks: dict[str, Any] = {"showticklabels": True}
    if len(laid.values) <= 10:
        ticks |= {"tickvals": list(laid.values), "ticktext": [f"{v:g}" for v in laid.values]}
    figure.update_xaxes(type="log" if laid.logarithmic else "linear", range=_reach(laid), **ticks)
    for place in range(len(panels)):
        if place + n_columns >= len(panels):
            figure.update_xaxes(
                title_text=look.escaped(laid.path),
                row=place // n_columns + 1,
                col=place % n_columns + 1,
            )
    figure.update_yaxes(**look.value_axis(drawn))
    return figure


def _dots(rows: Sequence[Row], panels: Mapping[str, str]) -> go.Figure:
    figure = make_subplots(
        cols=len(panels),
        shared_yaxes=True,
        horizontal_spacing=0.035,
        subplot_titles=[look.escaped(name).replace(": ", ":<br>") for name in panels.values()],
    )
    for column, metric in enumerate(panels, start=1):
        found = [(y, row) for y, row in enumerate(rows) if metric in row.metrics]
        estimates = [row.metrics[metric] for _, row in found]
        colours = [look.MUTED if row.trial.baseline else look.PALETTE[0] for _, row in found]
        figure.add_scatter(
            x=[estimate.mean for estimate in estimates],
            y=[y for y, _ in found],
            error_x=look.error_bars(estimates, look.MUTED),
            mode="markers",
            marker={"size": 9, "color": colours},
            showlegend=False,
            hovertext=[
                look.hover(row, [(look.words(metric), row.metrics[metric])]) for _, row in found
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            row=1,
            col=column,
        )
    figure.update_layout(
        template=look.TEMPLATE, height=160 + 34 * len(rows), margin={"t": 76, "b": 32}
    )
    drawn = [row.metrics[metric] for row in rows for metric in panels if metric in row.metrics]
    figure.update_xaxes(**look.value_axis(drawn, n_steps=2))
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[look.trial_name(row) for row in rows],
        range=[len(rows) - 0.5, -0.5],
    )
    return figure


def _add_baseline(
    figure: go.Figure, rows: Sequence[Row], panels: Sequence[str], *, vertical: bool
) -> None:
    baseline = next((row for row in rows if row.trial.baseline), None)
    if baseline is None:
        return
    for index, metric in enumerate(panels, start=1):
        if metric not in baseline.metrics:
            continue
        mean, suffix = baseline.metrics[metric].mean, "" if index == 1 else str(index)
        along, across = ("y", "x") if vertical else ("x", "y")
        figure.add_shape(
            type="line",
            layer="below",
            line={"color": look.MUTED, "width": 1.2, "dash": "dot"},
            **{f"{along}ref": f"{along}{suffix} domain", f"{along}0": 0, f"{along}1": 1},
            **{f"{across}ref": f"{across}{suffix}", f"{across}0": mean, f"{across}1": mean},
        )


def _dodged(laid: Grid, value: float, index: int) -> float:
    steps = (index - (len(laid.lines) - 1) / 2) * _DODGE
    first, last = laid.values[0], laid.values[-1]
    if laid.logarithmic:
        return float(value * (last / first) ** steps)
    return value + steps * (last - first)


def _reach(laid: Grid) -> list[float]:
    """Return the same x range for every panel, though not every trial is in each."""
    first, last = laid.values[0], laid.values[-1]
    if laid.logarithmic:
        first, last = math.log10(first), math.log10(last)
    margin = (last - first) * 0.06
    return [first - margin, last + margin]


def _is_single(row: Row) -> bool:
    streams = row.trial.resolved.get("streams")
    return isinstance(streams, Mapping) and streams.get("protocol") == "single"


def _along(results: StudyResults, row: Row) -> dict[str, dict[int, Estimate]]:
    """Estimate each curve at each step, over the streams that are complete."""
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for timed in results.points(row.trial):
        if timed.point.stream in row.trial.streams:
            values[timed.point.metric][timed.point.step].append(timed.point.value)
    return {
        metric: {step: Estimate.over(steps[step], results.level) for step in sorted(steps)}
        for metric, steps in values.items()
    }


def _band(
    row: Row, metric: str, curve: Mapping[int, Estimate], mark: Mark, *, legend: bool
) -> list[go.Scatter]:
    """Return a trial's line and, where there are intervals, the band around it."""
    group, name = str(row.trial.number), look.trial_name(row)
    edits = [step + 1 for step in curve]
    traces = []
    bounded = [(x, e) for x, e in zip(edits, curve.values(), strict=True) if e.high is not None]
    if bounded:
        around = [x for x, _ in bounded]
        traces.append(
            go.Scatter(
                x=around + around[::-1],
                y=[e.high for _, e in bounded] + [e.low for _, e in reversed(bounded)],
                fill="toself",
                fillcolor=look.faded(mark.colour, 0.1),
                line={"width": 0},
                mode="lines",
                hoverinfo="skip",
                legendgroup=group,
                showlegend=False,
                name=f"{name}, interval",
            )
        )
    what = look.words(metric)
    traces.append(
        go.Scatter(
            x=edits,
            y=[estimate.mean for estimate in curve.values()],
            mode="lines+markers",
            line={"color": mark.colour, "width": 2, "dash": mark.dash},
            marker={"symbol": mark.symbol, "size": 5},
            name=name,
            legendgroup=group,
            showlegend=legend,
            hovertext=[
                look.hover(row, [(f"{what} after {x} edits", estimate)])
                for x, estimate in zip(edits, curve.values(), strict=True)
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    return traces
