"""How figures look: one template, a colour-blind-safe palette, and words for numbers."""

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from orchestrator.results import Estimate, Row

NOTHING = "No stream of this study is complete yet."
INK = "#1f2937"
MUTED = "#64748b"
GRID = "#e8ecf1"
FONT = '-apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
PALETTE = (  # Okabe and Ito, without the yellow that is lost on white
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#4b5563",
)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "hexagon", "triangle-down")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
HEAT = ((0.0, "#f3f7fb"), (0.35, "#b5d0e8"), (0.7, "#4a90c4"), (1.0, "#0b3c6f"))
"""Light to dark: also readable in grey."""
_ORDERED = ((0.0, "#3b1c63"), (0.35, "#31688e"), (0.7, "#2a9d6f"), (1.0, "#e08214"))
_LARGEST_SHARE = 2.0  # retentions are ratios that can exceed 1 by a little
_LONGEST_VALUE = 28
_LEAST_SPAN = 0.05

_AXIS = {
    "gridcolor": GRID,
    "linecolor": "#cbd5e1",
    "zeroline": False,
    "ticks": "outside",
    "ticklen": 4,
    "tickcolor": "#cbd5e1",
    "title": {"standoff": 10, "font": {"size": 13, "color": INK}},
    "automargin": True,
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "colorway": PALETTE,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "margin": {"l": 64, "r": 24, "t": 48, "b": 56},
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "white",
            "bordercolor": "#94a3b8",
            "font": {"family": FONT, "size": 13, "color": INK},
            "align": "left",
        },
        "legend": {"font": {"size": 12}, "itemclick": "toggle", "tracegroupgap": 2},
    }
)


def note(text: str) -> go.Figure:
    """Make a figure that only says why there is nothing to draw.

    Args:
        text: The sentence, plain; also found in ``layout.meta["note"]``.
    """
    figure = go.Figure()
    figure.update_layout(
        template=TEMPLATE,
        meta={"note": text},
        height=120,
        xaxis={"visible": False},
        yaxis={"visible": False},
    )
    figure.add_annotation(
        text=escaped(text), x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False
    )
    return figure


def note_of(figure: go.Figure) -> str | None:
    """Return what a figure made by :func:`note` says; None for a drawn one."""
    meta = figure.layout.meta
    return meta["note"] if isinstance(meta, Mapping) and "note" in meta else None


def escaped(text: str) -> str:
    """Protect text from Plotly, which reads some HTML in labels and hover texts."""
    return html.escape(text, quote=False)


def shown(value: object) -> str:
    """Return a parameter's value as a study file would write it."""
    return (
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    )


def brief(value: object) -> str:
    """Return a parameter's value, or its beginning; of several values their ``name``."""
    if isinstance(value, dict):
        name = value.get("name")
        value = name if isinstance(name, str) else "{…}"
    text = shown(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def words(metric: str) -> str:
    """Return a metric's name for people."""
    return metric.replace("cross_lingual_", "cross-lingual ").replace("_", " ")


def are_shares(values: Iterable[float]) -> bool:
    """Whether values are rates or ratios, which are shown in percent."""
    return all(abs(value) <= _LARGEST_SHARE for value in values)


def value_axis(estimates: Sequence[Estimate], n_steps: int = 3) -> dict[str, Any]:
    """Return range and ticks of an axis that holds estimates.

    Means lie inside with room around them. So do intervals, but for what would reach below 0 %
    or above 100 %, where no share can be.

    Args:
        estimates: At least one.
        n_steps: Steps between ticks that fit at least; about twice as many are drawn.
    """
    means = [estimate.mean for estimate in estimates]
    ends = [x for e in estimates for x in (e.low, e.mean, e.high) if x is not None]
    low, high = min(ends), max(ends)
    if not are_shares(means):
        margin = (high - low) * 0.08 or 1.0
        return {"range": [low - margin, high + margin], "tickformat": "~s"}
    top = max(1.0, *means)
    low, high = max(low, min(0.0, *means)), min(high, top)
    if high == low:
        low, high = low - _LEAST_SPAN, min(high + _LEAST_SPAN, top)
    margin = (high - low) * 0.08
    step = _step(high - low + 2 * margin, n_steps)
    first, last = (
        math.ceil((low - margin) / step),
        math.floor(min(high + margin, top) / step + 1e-9),
    )
    decimals = max(0, -math.floor(math.log10(step * 100) + 1e-9))
    return {
        "range": [low - margin, high + margin],
        "tickvals": [round(k * step, 8) for k in range(first, last + 1) if k >= 0],
        "tickformat": f".{decimals}~%",
    }


def _step(span: float, n_steps: int) -> float:
    """Return the largest round distance that fits so often."""
    power: float = 10.0 ** math.floor(math.log10(span / n_steps))
    return next(k * power for k in (5, 2, 1) if k * power * n_steps <= span or k == 1)


def quantity(estimate: Estimate) -> str:
    """Return mean and interval: ``74.8 % [65.1, 84.5]``."""
    share = are_shares([estimate.mean])
    scale, unit = (100.0, " %") if share else (1.0, "")
    text = f"{estimate.mean * scale:.1f}{unit}"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{estimate.low * scale:.1f}, {estimate.high * scale:.1f}]"


def streams(n: int) -> str:
    """Return ``5 streams``."""
    return f"{n} stream" if n == 1 else f"{n} streams"


def trial_name(row: Row) -> str:
    """Return a trial's number and label, with its part in the study."""
    trial = row.trial
    name = f"{trial.number}  {escaped(trial.label)}"
    if trial.baseline:
        name += " (baseline)"
    return name if trial.state == "complete" else f"{name} ({escaped(trial.state)})"


def hover(row: Row, measured: Sequence[tuple[str, Estimate]], *more: str) -> str:
    """Return what the pointer shows over a trial.

    Args:
        row: The trial.
        measured: What is measured, in words, and the estimate.
        more: Further lines.
    """
    lines = [f"<b>{trial_name(row)}</b>"]
    lines += [f"{escaped(path)} = {escaped(brief(v))}" for path, v in row.trial.params.items()]
    lines += [
        f"{escaped(what)}: <b>{quantity(estimate)}</b>, {streams(estimate.n)}"
        for what, estimate in measured
    ]
    return "<br>".join([*lines, *more])


def error_bars(estimates: Sequence[Estimate], colour: str) -> dict[str, Any]:
    """Return Plotly's error bars; invisible where single streams have no interval."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [None if e.high is None else e.high - e.mean for e in estimates],
        "arrayminus": [None if e.low is None else e.mean - e.low for e in estimates],
        "visible": any(e.high is not None for e in estimates),
        "thickness": 1.4,
        "width": 4,
        "color": colour,
    }


def ordered_colours(n: int) -> list[str]:
    """Return n colours that go from dark violet to orange, to follow an ordered parameter."""
    places = [index / (n - 1) for index in range(n)] if n > 1 else [0.35]
    colours: list[str] = sample_colorscale([list(stop) for stop in _ORDERED], places)
    return colours


def faded(colour: str, opacity: float) -> str:
    """Return a colour (``#rrggbb`` or ``rgb(...)``) as ``rgba(...)``."""
    if colour.startswith("#"):
        parts = [str(int(colour[i : i + 2], 16)) for i in (1, 3, 5)]
    else:
        parts = [part.strip() for part in colour[colour.index("(") + 1 : -1].split(",")]
    return f"rgba({', '.join(parts)}, {opacity:g})"
