import itertools
import math
from typing import Any

import pytest

from dashboards.figures import ablation_curve, stream_curves, trade_off
from dashboards.look import note_of

GENERALITY = "cross_lingual_generality"


def values_over(*generality: float, **others: float) -> dict[int, dict[str, float]]:
    """One stream for each value of the primary metric."""
    return {i: {GENERALITY: value, **others} for i, value in enumerate(generality)}


def test_a_line_holds_the_trials_that_differ_in_the_first_number_only(swept: Any) -> None:
    fixed, fresh = ablation_curve(swept).data
    assert (fixed.name, fresh.name) == ("pairing.choice = fixed", "pairing.choice = fresh")
    assert fixed.y == pytest.approx((0.3, 0.6))
    assert fresh.y == pytest.approx((0.4, 0.8))
    # half the interval is half the distance of two streams
    assert fixed.error_y.array == pytest.approx((0.1, 0.1))
    assert fixed.error_y.arrayminus == pytest.approx((0.1, 0.1))
    assert fresh.error_y.array == pytest.approx((0.0, 0.1))


def test_lines_stand_apart_around_the_value_that_they_share(swept: Any) -> None:
    figure = ablation_curve(swept)
    fixed, fresh = figure.data
    for left, right, value in zip(fixed.x, fresh.x, (0, 2), strict=True):
        assert left < right
        assert (left + right) / 2 == pytest.approx(value)
    assert figure.layout.xaxis.ticktext == ("0", "2")
    assert figure.layout.xaxis.title.text == "pairing.languages"


def test_the_baseline_is_a_line_across(swept: Any) -> None:
    (line,) = ablation_curve(swept).layout.shapes
    assert (line.y0, line.y1) == pytest.approx((0.3, 0.3))
    assert line.yref == "y"


def test_the_pointer_shows_all_there_is_to_know(swept: Any) -> None:
    text = ablation_curve(swept).data[0].hovertext[1]
    for part in (
        "2  languages=2 choice=fixed",
        "pairing.languages = 2",
        "pairing.choice = fixed",
        "60.0 % [50.0, 70.0]",
        "2 streams",
    ):
        assert part in text
    assert "baseline" not in text
    assert "(baseline)" in ablation_curve(swept).data[0].hovertext[0]


def test_values_that_span_much_get_a_logarithmic_axis(make_study: Any, trial_class: Any) -> None:
    def study_of(*rates: float) -> Any:
        return make_study([trial_class({"lr": rate}, values_over(0.5)) for rate in rates])

    assert ablation_curve(study_of(0.01, 0.49)).layout.xaxis.type == "linear"
    figure = ablation_curve(study_of(0.01, 0.1, 0.5))
    assert figure.layout.xaxis.type == "log"
    assert figure.data[0].x == pytest.approx((0.01, 0.1, 0.5))
    low, high = figure.layout.xaxis.range  # of a logarithmic axis: exponents
    assert low < math.log10(0.01) and high > math.log10(0.5)


def test_what_is_undefined_has_no_point(make_study: Any, trial_class: Any) -> None:
    unseen, seen = f"{GENERALITY}_unseen", f"{GENERALITY}_seen"
    results = make_study(
        [
            trial_class({"n": 0}, values_over(0.5, **{unseen: 0.5, "locality": 1.0})),
            trial_class({"n": 1}, values_over(0.6, **{unseen: 0.4, seen: 0.8})),
            trial_class({"n": 2}, values_over(0.9, **{seen: 0.9})),
        ]
    )
    figure = ablation_curve(results)
    titles = [note.text for note in figure.layout.annotations]
    assert [title.rsplit(": ", 1)[1] for title in titles] == [
        "all target languages",
        "seen languages",
        "unseen languages",
    ]
    every, seen_line, unseen_line = figure.data
    assert (every.x, every.y) == ((0, 1, 2), (0.5, 0.6, 0.9))
    assert (seen_line.x, seen_line.y) == ((1, 2), (0.8, 0.9))
    assert (unseen_line.x, unseen_line.y) == ((0, 1), (0.5, 0.4))
    # panels can be compared at a glance: they share both axes
    assert figure.layout.xaxis.range == figure.layout.xaxis2.range == figure.layout.xaxis3.range
    assert figure.layout.yaxis.range == figure.layout.yaxis3.range
    (point,) = trade_off(results).data
    assert (point.x, point.y) == ((1.0,), (0.5,))


def test_one_stream_has_no_interval(make_study: Any, trial_class: Any) -> None:
    results = make_study(
        [trial_class({"n": n}, values_over(0.5 + n / 10, locality=1.0)) for n in (0, 1)]
    )
    (line,) = ablation_curve(results).data
    assert line.error_y.visible is False
    assert "[" not in line.hovertext[0] and "1 stream" in line.hovertext[0]
    assert all(point.error_x.visible is False for point in trade_off(results).data)


def test_an_ablation_has_a_dot_per_trial(make_study: Any, trial_class: Any) -> None:
    results = make_study(
        [
            trial_class({"n": 2, "memory": {"weight": 1.0}}, values_over(0.6, 0.8), label="base"),
            trial_class({"n": 0, "memory": {"weight": 1.0}}, values_over(0.2, 0.4), label="alone"),
            trial_class({"n": 2, "memory": None}, values_over(0.5, 0.7), label="forgetful"),
        ],
        ablate={"alone": {"n": 0}, "forgetful": {"memory": None}},
    )
    figure = ablation_curve(results)
    (dots,) = figure.data
    assert dots.x == pytest.approx((0.7, 0.3, 0.6))
    assert dots.y == (0, 1, 2)
    assert dots.error_x.array == pytest.approx((0.1, 0.1, 0.1))
    assert figure.layout.yaxis.ticktext == ("0  base (baseline)", "1  alone", "2  forgetful")
    (baseline,) = figure.layout.shapes
    assert (baseline.x0, baseline.x1) == pytest.approx((0.7, 0.7))


def test_a_search_that_never_repeats_a_value_has_a_dot_per_trial(
    make_study: Any, trial_class: Any
) -> None:
    results = make_study(
        [trial_class({"a": i / 7, "b": i / 3}, values_over(i / 10)) for i in range(4)]
    )
    (dots,) = ablation_curve(results).data
    assert dots.x == pytest.approx((0.0, 0.1, 0.2, 0.3))


def test_words_and_switches_are_no_axis(make_study: Any, trial_class: Any) -> None:
    results = make_study(
        [
            trial_class({"kind": kind, "on": on}, values_over(0.5))
            for kind, on in itertools.product("ab", (True, False))
        ]
    )
    (dots,) = ablation_curve(results).data
    assert len(dots.x) == 4


def test_curves_follow_the_stream(make_study: Any, trial_class: Any) -> None:
    retention = "edit_retention_so_far"
    points = {
        0: [(retention, 0, 1.0), (retention, 1, 0.5), ("locality", 0, 1.0)],
        1: [(retention, 0, 1.0), (retention, 1, 1.0), ("locality", 0, 0.8)],
        2: [(retention, 0, 0.0)],  # its block is not complete
    }
    streams = {**values_over(0.5, 0.5), 2: None}
    trial = trial_class({"n": 0}, streams, points=points)
    figure = stream_curves(make_study([trial], protocol="sequential"))
    band, line, locality_band, locality = figure.data
    assert line.x == (1, 2)
    assert line.y == pytest.approx((1.0, 0.75))
    assert band.x == (1, 2, 2, 1)
    assert band.y == pytest.approx((1.0, 1.0, 0.5, 1.0))
    assert (locality.x, locality.y) == ((1,), pytest.approx((0.9,)))
    assert locality_band.y == pytest.approx((1.0, 0.8))
    assert locality.xaxis != line.xaxis or locality.yaxis != line.yaxis


def test_one_stream_has_no_band(make_study: Any, trial_class: Any) -> None:
    points = {0: [("edit_retention_so_far", 0, 1.0)]}
    trial = trial_class({"n": 0}, values_over(0.5), points=points)
    (line,) = stream_curves(make_study([trial], protocol="sequential")).data
    assert line.y == (1.0,)


def test_single_edits_have_no_stream_to_follow(make_study: Any, trial_class: Any) -> None:
    points = {0: [("locality", 0, 1.0)]}
    trial = trial_class({"n": 0}, values_over(0.5), points=points)
    figure = stream_curves(make_study([trial], protocol="single"))
    assert not figure.data
    assert "fresh base model" in (note_of(figure) or "")
    assert figure.layout.xaxis.visible is False
