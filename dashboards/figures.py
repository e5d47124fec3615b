"""The figures of a study: pure functions from its results to Plotly figures, and how to read them.

None has a title, for a page that has its own headings. Where there is nothing to draw, a figure
is a sentence that says why (see :func:`dashboards.look.note_of`). What is undefined has no point.
"""

from collections.abc import Callable
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboards.curves import ablation_curve, stream_curves
from dashboards.heatmap import cross_lingual_heatmap
from dashboards.trade_off import trade_off
from orchestrator.results import StudyResults

__all__ = [
    "FIGURES",
    "Plate",
    "ablation_curve",
    "cross_lingual_heatmap",
    "stream_curves",
    "trade_off",
]


@dataclass(frozen=True)
class Plate:
    """A figure's place in a report.

    Attributes:
        name: Id in the page.
        title: Heading.
        caption: How to read it, in one sentence.
        draw: Makes the figure.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[StudyResults], go.Figure]


FIGURES = (
    Plate(
        "ablation-curve",
        "What the variation does",
        "Each point is a trial’s mean over streams with its interval, the dotted line is the "
        "baseline; lines are set slightly apart so that intervals do not cover each other, and "
        "intervals of a mean near 0 or 100 % can reach beyond.",
        ablation_curve,
    ),
    Plate(
        "cross-lingual-heatmap",
        "Language by language",
        "Each row is a trial and each cell the mean in % for one language, reliability in the "
        "source language standing apart on the left; a dot marks a language that training saw in "
        "every edit, a ring one that it saw in some streams or edits only, so that the cell "
        "averages over both, and no mark one that it never saw.",
        cross_lingual_heatmap,
    ),
    Plate(
        "trade-off",
        "What it costs",
        "Each numbered point is a trial, with the intervals of both metrics: a gain upwards is "
        "free only where the point does not also move to the left, and the axes are cut to the "
        "values so that small costs show.",
        trade_off,
    ),
    Plate(
        "stream-curves",
        "Along the stream",
        "Each line is a trial’s mean over streams after so many edits on the same model, with "
        "the interval at each step as a band, which can reach beyond 0 or 100 %.",
        stream_curves,
    ),
)
"""In the order of a report."""
