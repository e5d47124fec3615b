"""The primary metric against what must not suffer, with labels that do not cover each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards import look
from dashboards.arrangement import Mark, marks
from orchestrator.results import Row, StudyResults

_WIDTH, _PANEL_HEIGHT = 900, 420  # px; labels are placed for this size
_MARGIN = {"l": 68, "r": 240, "t": 24, "b": 60}
_GAP = 0.06
_CHARACTER = 8.0  # px a digit takes at 12 px, generously
_HEIGHT = 15.0
_MARKER = 12.0
_RADII = (13.0, 20.0, 28.0, 38.0, 50.0)
_DIRECTIONS = (  # diagonals first: error bars go straight up, down and to the sides
    (0.9, 0.8), (-0.9, 0.8), (0.9, -0.8), (-0.9, -0.8), (0.45, 1.0), (-0.45, 1.0),
    (0.45, -1.0), (-0.45, -1.0), (1.0, 0.3), (-1.0, 0.3), (1.0, -0.3), (-1.0, -0.3),
)  # fmt: skip


def trade_off(results: StudyResults) -> go.Figure:
    """Show the primary metric against each guard metric, a point per trial with both intervals.

    Args:
        results: The study.

    Returns:
        A panel per guard. The number beside a point is the trial's, as in the legend.
    """
    rows, primary = results.rows(), results.measure["primary"]
    if not rows:
        return look.note(look.NOTHING)
    shown = {
        guard: [row for row in rows if guard in row.metrics and primary in row.metrics]
        for guard in results.measure["guard"]
        if guard != primary
    }
    shown = {guard: found for guard, found in shown.items() if found}
    if not shown:
        return look.note("The study names no guard metric, or no trial has one.")
    figure = make_subplots(cols=len(shown), shared_yaxes=True, horizontal_spacing=_GAP)
    inner = _WIDTH - _MARGIN["l"] - _MARGIN["r"]
    width = inner * (1 - _GAP * (len(shown) - 1)) / len(shown)
    height = _PANEL_HEIGHT - _MARGIN["t"] - _MARGIN["b"]
    y_axis = look.value_axis([row.metrics[primary] for found in shown.values() for row in found])
    drawn_as, named = marks(results), set()
    for column, (guard, found) in enumerate(shown.items(), start=1):
        x_axis = look.value_axis([row.metrics[guard] for row in found])
        for row in found:
            fresh = row.trial.number not in named
            named.add(row.trial.number)
            trace = _point(row, guard, primary, drawn_as[row.trial.number], legend=fresh)
            figure.add_trace(trace, row=1, col=column)
        pixels = [
            (
                _part(row.metrics[guard].mean, x_axis["range"]) * width,
                _part(row.metrics[primary].mean, y_axis["range"]) * height,
            )
            for row in found
        ]
        names = [str(row.trial.number) for row in found]
        for row, point, box in zip(found, pixels, label_boxes(pixels, names), strict=True):
            figure.add_annotation(
                x=row.metrics[guard].mean,
                y=row.metrics[primary].mean,
                xshift=box.x - point[0],
                yshift=box.y - point[1],
                text=f"<b>{row.trial.number}</b>",
                showarrow=False,
                bgcolor="rgba(255, 255, 255, 0.7)",
                borderpad=0,
                font={"size": 12, "color": drawn_as[row.trial.number].colour},
                row=1,
                col=column,
            )
        figure.update_xaxes(
            title_text=look.escaped(look.words(guard)),
            **x_axis,
            row=1,
            col=column,
        )
    figure.update_yaxes(**y_axis)
    figure.update_yaxes(title_text=look.escaped(look.words(primary)), row=1, col=1)
    figure.update_layout(
        template=look.TEMPLATE,
        height=max(_PANEL_HEIGHT, 110 + 21 * len(rows)),
        margin=_MARGIN,
        legend={"title": {"text": "trial"}, "y": 1, "yanchor": "top"},
    )
    return figure


def _point(row: Row, guard: str, primary: str, mark: Mark, *, legend: bool) -> go.Scatter:
    x, y = row.metrics[guard], row.metrics[primary]
    faded = look.faded(mark.colour, 0.55)
    return go.Scatter(
        x=[x.mean],
        y=[y.mean],
        error_x=look.error_bars([x], faded),
        error_y=look.error_bars([y], faded),
        mode="markers",
        marker={
            "symbol": mark.symbol,
            "size": 11,
            "color": mark.colour,
            "line": {"width": 1, "color": "white"},
        },
        name=look.trial_name(row),
        legendgroup=str(row.trial.number),
        showlegend=legend,
        hovertext=[look.hover(row, [(look.words(primary), y), (look.words(guard), x)])],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _part(value: float, around: Sequence[float]) -> float:
    return (value - around[0]) / (around[1] - around[0])


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, by its middle."""

    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: "Box") -> bool:
        """Whether two rectangles share more than an edge."""
        return (
            abs(self.x - other.x) * 2 < self.width + other.width
            and abs(self.y - other.y) * 2 < self.height + other.height
        )


def label_boxes(points: Sequence[tuple[float, float]], texts: Sequence[str]) -> list[Box]:
    """Place a label near each point, away from all points and all other labels.

    Args:
        points: In pixels, y upwards.
        texts: One a point, short.

    Returns:
        A box per label, its middle in the points' coordinates. A label that finds no free place
        stands where it overlaps least.
    """
    taken = [Box(x, y, _MARKER, _MARKER) for x, y in points]
    placed: list[Box] = []
    for point, text in zip(points, texts, strict=True):
        options = list(_options(point, text))
        best = min(options, key=lambda box: sum(box.overlaps(other) for other in taken))
        taken.append(best)
        placed.append(best)
    return placed


def _options(point: tuple[float, float], text: str) -> Iterator[Box]:
    width = _CHARACTER * len(text) + 2
    for radius in _RADII:
        for dx, dy in _DIRECTIONS:
            yield Box(point[0] + dx * radius, point[1] + dy * radius, width, _HEIGHT)
