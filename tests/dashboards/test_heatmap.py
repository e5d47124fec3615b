from typing import Any

import pytest

from dashboards.arrangement import seen_languages
from dashboards.figures import cross_lingual_heatmap

GENERALITY = "cross_lingual_generality"


@pytest.fixture
def bilingual(make_study: Any, trial_class: Any) -> Any:
    """German and Spanish; seen never, in one stream of two, and always."""

    def found(german: float, spanish: float | None) -> dict[str, float]:
        values = {GENERALITY: german, f"{GENERALITY}/de": german, "reliability": 0.95}
        values |= {"reliability/en": 0.95, "locality/de": 1.0}
        return values if spanish is None else values | {f"{GENERALITY}/es": spanish}

    return make_study(
        [
            trial_class({"n": 0}, {0: found(0.4, 0.1), 1: found(0.6, 0.3)}),
            trial_class(
                {"n": 1}, {0: found(0.7, 0.5), 1: found(0.9, 0.5)}, {0: ("de",), 1: ("es",)}
            ),
            trial_class({"n": 2}, {0: found(1.0, None), 1: found(1.0, None)}, {0: "de", 1: ["de"]}),
        ]
    )


def test_the_heatmap_holds_means_by_language(bilingual: Any) -> None:
    source, targets, *_ = cross_lingual_heatmap(bilingual).data
    assert [list(row) for row in source.z] == [[0.95]] * 3
    assert targets.z[0] == pytest.approx((0.5, 0.2))
    assert targets.z[1] == pytest.approx((0.8, 0.5))
    assert targets.z[2][0] == 1.0
    assert targets.z[2][1] is None  # Spanish is undefined there
    layout = cross_lingual_heatmap(bilingual).layout
    assert layout.xaxis.ticktext == ("<b>en</b> source", "de", "es")
    assert layout.yaxis.ticktext[0] == "0  n=0 (baseline)"
    assert "50.0 % [40.0, 60.0]" in targets.hovertext[0][0]


def test_the_heatmap_writes_a_number_into_each_cell_that_has_one(bilingual: Any) -> None:
    (numbers,) = [trace for trace in cross_lingual_heatmap(bilingual).data if trace.name == "means"]
    cells = set(zip(numbers.y, numbers.text, strict=True))
    assert {(0, "95.0"), (0, "50.0"), (0, "20.0"), (1, "80.0"), (2, "100.0")} <= cells
    assert len(numbers.text) == 8  # three by three, without the undefined one


@pytest.mark.parametrize(("n", "text"), [(9, "49.6"), (10, "50")])
def test_many_languages_leave_room_for_whole_percents_only(
    make_study: Any, trial_class: Any, n: int, text: str
) -> None:
    found = {GENERALITY: 0.496} | {f"{GENERALITY}/l{i}": 0.496 for i in range(n)}
    figure = cross_lingual_heatmap(make_study([trial_class({"n": 0}, {0: found, 1: found})]))
    (numbers,) = [trace for trace in figure.data if trace.name == "means"]
    assert set(numbers.text) == {text}
    assert "49.6 %" in figure.data[1].hovertext[0][0]


def test_the_heatmap_tells_seen_from_unseen(bilingual: Any) -> None:
    figure = cross_lingual_heatmap(bilingual)
    marked = {trace.name: trace for trace in figure.data if trace.name and "seen" in trace.name}
    always, sometimes = marked["seen in every edit"], marked["seen in some streams or edits"]
    german, spanish = figure.layout.xaxis.tickvals[1:]
    assert [(round(x - 0.38, 6), round(y)) for x, y in zip(always.x, always.y, strict=True)] == [
        (german, 2)
    ]
    some = {(round(x - 0.38, 6), round(y)) for x, y in zip(sometimes.x, sometimes.y, strict=True)}
    assert some == {(german, 1), (spanish, 1)}
    assert always.showlegend and sometimes.showlegend
    assert "always seen (2 of 2 edits)" in figure.data[1].hovertext[2][0]
    assert "sometimes seen (1 of 2 edits)" in figure.data[1].hovertext[1][0]
    assert "never seen (0 of 2 edits)" in figure.data[1].hovertext[0][0]


def test_seen_is_counted_by_language(bilingual: Any) -> None:
    row = bilingual.rows()[1]
    counts = seen_languages(bilingual, row)
    assert {language: (s.n_seen, s.n) for language, s in counts.items()} == {
        "de": (1, 2),
        "es": (1, 2),
    }
