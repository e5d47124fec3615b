import itertools
from typing import Any

import pytest

from dashboards.figures import ablation_curve, cross_lingual_heatmap, stream_curves, trade_off
from dashboards.look import note_of, value_axis
from dashboards.trade_off import label_boxes
from orchestrator.results import Estimate

GENERALITY = "cross_lingual_generality"


def values_over(*generality: float, **others: float) -> dict[int, dict[str, float]]:
    """One stream for each value of the primary metric."""
    return {i: {GENERALITY: value, **others} for i, value in enumerate(generality)}


def test_a_trade_off_has_both_intervals(make_study: Any, trial_class: Any) -> None:
    found = {0: {GENERALITY: 0.4, "locality": 0.9}, 1: {GENERALITY: 0.6, "locality": 1.0}}
    (point,) = trade_off(make_study([trial_class({"n": 0}, found)])).data
    assert (point.x, point.y) == (pytest.approx((0.95,)), pytest.approx((0.5,)))
    assert point.error_x.array == pytest.approx((0.05,))
    assert point.error_y.arrayminus == pytest.approx((0.1,))
    assert "95.0 % [90.0, 100.0]" in point.hovertext[0]
    assert "50.0 % [40.0, 60.0]" in point.hovertext[0]


def test_every_guard_has_a_panel_and_every_trial_one_legend_entry(
    make_study: Any, trial_class: Any
) -> None:
    results = make_study(
        [trial_class({"n": n}, values_over(0.5, locality=0.9, near=0.8)) for n in (0, 1)],
        guard=("locality", "near"),
    )
    figure = trade_off(results)
    assert [trace.xaxis for trace in figure.data] == ["x", "x", "x2", "x2"]
    assert [trace.showlegend for trace in figure.data] == [True, True, False, False]
    assert {note.text for note in figure.layout.annotations} == {"<b>0</b>", "<b>1</b>"}


def test_labels_cover_neither_points_nor_each_other() -> None:
    points = [(100.0 + 3 * i, 100.0 + 2 * i) for i in range(8)]
    boxes = label_boxes(points, [str(i) for i in range(8)])
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    for box in boxes:
        for x, y in points:
            assert abs(box.x - x) * 2 >= box.width or abs(box.y - y) * 2 >= box.height


def test_without_a_guard_there_is_no_trade_off(make_study: Any, trial_class: Any) -> None:
    figure = trade_off(make_study([trial_class({"n": 0}, values_over(0.5))]))
    assert not figure.data
    assert "no guard" in (note_of(figure) or "")


@pytest.mark.parametrize("draw", [ablation_curve, cross_lingual_heatmap, trade_off, stream_curves])
def test_nothing_is_drawn_of_a_study_without_results(
    draw: Any, make_study: Any, trial_class: Any
) -> None:
    figure = draw(make_study([trial_class({"n": 0}, {0: None}, state="running")]))
    assert not figure.data
    assert "No stream" in (note_of(figure) or "")


@pytest.mark.parametrize("draw", [ablation_curve, cross_lingual_heatmap, trade_off])
def test_labels_are_escaped(draw: Any, make_study: Any, trial_class: Any) -> None:
    hostile = '<a href="javascript:alert(1)">x</a>'
    found = values_over(0.5, **{f"{GENERALITY}/de": 0.5, "locality": 1.0})
    trial = trial_class({"kind<b>": hostile}, found, label=hostile)
    text = str(draw(make_study([trial])).to_plotly_json())
    assert "<a href" not in text and "kind<b>" not in text
    assert "&lt;a href" in text


@pytest.mark.parametrize("draw", [ablation_curve, cross_lingual_heatmap, trade_off])
def test_the_same_results_give_the_same_figure(draw: Any, swept: Any) -> None:
    assert draw(swept).to_json() == draw(swept).to_json()


def test_an_axis_ends_where_shares_do() -> None:
    axis = value_axis([Estimate(0.9, 0.6, 1.2, 2)])
    low, high = axis["range"]
    assert 0.5 < low < 0.6
    assert 1.0 < high < 1.1
    assert max(axis["tickvals"]) == 1.0
    assert axis["tickformat"] == ".0~%"


def test_an_axis_shows_what_is_above_one_if_a_mean_is() -> None:
    low, high = value_axis([Estimate(0.9, None, None, 1), Estimate(1.1, None, None, 1)])["range"]
    assert low < 0.9 and high > 1.1


def test_ticks_are_as_fine_as_the_values_differ() -> None:
    axis = value_axis([Estimate(0.9985, None, None, 1), Estimate(1.0, None, None, 1)])
    assert axis["tickformat"] == ".2~%"
    assert axis["tickvals"] == pytest.approx([0.9985, 0.999, 0.9995, 1.0])


def test_counts_are_not_shown_in_percent() -> None:
    assert value_axis([Estimate(500.0, 400.0, 600.0, 2)])["tickformat"] == "~s"
