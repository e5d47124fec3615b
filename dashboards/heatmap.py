"""The primary metric by trial and language, with what was seen in training."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from dashboards import look
from dashboards.arrangement import languages, seen_languages
from orchestrator.results import Estimate, StudyResults

_SOURCE = 0.0  # place of the source language's column
_TARGETS = 1.25  # place of the first target language's
_DARK = 0.68  # of the colour scale: from here on text is white
_SEEN = "#e69f00"
_ROOMY = 9  # columns; in more, only whole percents fit beside the dots
_LEGEND = {"always": "seen in every edit", "sometimes": "seen in some streams or edits"}


def cross_lingual_heatmap(results: StudyResults) -> go.Figure:
    """Show the primary metric by trial and language, and which languages were seen.

    Args:
        results: The study.

    Returns:
        A row per trial; source reliability stands apart, on the left. A dot marks a language
        that was seen in every edit of the trial, a ring one seen in some.
    """
    rows, targets = results.rows(), languages(results)
    if not rows or not targets:
        return look.note(
            look.NOTHING if not rows else "The primary metric has no parts to compare."
        )
    primary = results.measure["primary"]
    sources = sorted(
        {n.split("/", 1)[1] for row in rows for n in row.metrics if n.startswith("reliability/")}
    )
    cells: list[tuple[float, int, Estimate, str]] = []
    dots: dict[str, list[tuple[float, float]]] = {"always": [], "sometimes": []}
    for y, row in enumerate(rows):
        if "reliability" in row.metrics:
            estimate = row.metrics["reliability"]
            text = look.hover(row, [(f"reliability ({', '.join(sources)})", estimate)])
            cells.append((_SOURCE, y, estimate, text))
        seen = seen_languages(results, row)
        for i, language in enumerate(targets):
            if f"{primary}/{language}" not in row.metrics:
                continue
            x, estimate = _TARGETS + i, row.metrics[f"{primary}/{language}"]
            measured = [
                (f"{look.words(name)}, {language}", row.metrics[f"{name}/{language}"])
                for name in (primary, f"{primary}_seen", f"{primary}_unseen")
                if f"{name}/{language}" in row.metrics
            ]
            more = []
            if language in seen:
                share = seen[language]
                more = [f"{share.state} seen ({share.n_seen} of {share.n} edits)"]
                if share.state in dots:
                    dots[share.state].append((x + 0.38, y - 0.27))
            cells.append((x, y, estimate, look.hover(row, measured, *more)))
    figure = go.Figure()
    places = [_SOURCE, *(_TARGETS + i for i in range(len(targets)))]
    for columns in (places[:1], places[1:]):
        _add_cells(figure, [cell for cell in cells if cell[0] in columns], columns, len(rows))
    for state, symbol in (("always", "circle"), ("sometimes", "circle-open")):
        if dots[state]:
            figure.add_scatter(
                x=[x for x, _ in dots[state]],
                y=[y for _, y in dots[state]],
                mode="markers",
                marker={
                    "symbol": symbol,
                    "size": 9 if len(targets) <= _ROOMY else 6,
                    "color": _SEEN,
                    "line": {"width": 2, "color": _SEEN if state == "sometimes" else "white"},
                },
                name=_LEGEND[state],
                hoverinfo="skip",
                showlegend=True,
            )
    low = min(estimate.mean for _, _, estimate, _ in cells)
    high = max(estimate.mean for _, _, estimate, _ in cells)
    shares = look.are_shares([low, high])
    floor, ceiling = (math.floor(low * 10) / 10, max(high, 1.0)) if shares else (low, high)
    bar = {"tickformat": ".0%"} if shares else {}
    _add_numbers(figure, cells, floor, ceiling, whole=shares and len(targets) > _ROOMY)
    figure.update_layout(
        template=look.TEMPLATE,
        height=120 + 40 * len(rows),
        margin={"t": 70, "b": 20, "l": 40},
        coloraxis={
            "colorscale": [list(stop) for stop in look.HEAT],
            "cmin": floor,
            "cmax": ceiling,
            "colorbar": {"thickness": 12, "outlinewidth": 0, **bar},
        },
        legend={
            "orientation": "h",
            "x": 0,
            "y": 0.995,
            "yanchor": "top",
            "yref": "container",
            "title": {"text": "In training:  "},
        },
        xaxis={
            "side": "top",
            "tickvals": places,
            "ticktext": [
                f"<b>{look.escaped(', '.join(sources)) or '–'}</b> source",
                *map(look.escaped, targets),
            ],
            "range": [_SOURCE - 0.5, places[-1] + 0.5],
        },
        yaxis={
            "tickvals": list(range(len(rows))),
            "ticktext": [look.trial_name(row) for row in rows],
            "range": [len(rows) - 0.5, -0.5],
        },
    )
    figure.update_xaxes(showgrid=False, ticks="", showline=False)
    figure.update_yaxes(showgrid=False, tickcolor="white", ticklen=8, showline=False)
    return figure


def _add_cells(
    figure: go.Figure,
    cells: Sequence[tuple[float, int, Estimate, str]],
    columns: Sequence[float],
    n_rows: int,
) -> None:
    """Add neighbouring columns of the heatmap."""
    z: list[list[float | None]] = [[None] * len(columns) for _ in range(n_rows)]
    hovers = [[""] * len(columns) for _ in range(n_rows)]
    for x, y, estimate, hover in cells:
        i = columns.index(x)
        z[y][i], hovers[y][i] = estimate.mean, hover
    figure.add_heatmap(
        z=z,
        x0=columns[0],
        dx=1,
        y0=0,
        dy=1,
        hovertext=hovers,
        hovertemplate="%{hovertext}<extra></extra>",
        hoverongaps=False,
        coloraxis="coloraxis",
        xgap=3,
        ygap=3,
    )


def _add_numbers(
    figure: go.Figure,
    cells: Sequence[tuple[float, int, Estimate, str]],
    floor: float,
    ceiling: float,
    *,
    whole: bool,
) -> None:
    """Write the mean into each cell: white on dark, dark on light; or its whole percents."""
    means = [
        f"{100 * e.mean:.0f}" if whole else look.quantity(e).split(" ")[0] for *_, e, _ in cells
    ]
    depths = [(e.mean - floor) / ((ceiling - floor) or 1.0) for _, _, e, _ in cells]
    figure.add_scatter(
        x=[x for x, _, _, _ in cells],
        y=[y for _, y, _, _ in cells],
        mode="text",
        text=means,
        textfont={"size": 13, "color": ["white" if d > _DARK else look.INK for d in depths]},
        hoverinfo="skip",
        showlegend=False,
        name="means",
    )
