import re
from html.parser import HTMLParser
from typing import Any

import pytest

from dashboards.report import render_report

GENERALITY = "cross_lingual_generality"
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Tags with their attributes, text outside scripts and styles, and unclosed tags."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def small(make_study: Any, trial_class: Any) -> Any:
    """A baseline at 0.5 and a trial at 0.7, 0.2 better in each stream; one trial failed."""

    def found(value: float) -> dict[str, float]:
        parts = {f"{GENERALITY}/de": value, f"{GENERALITY}_unseen": value}
        return {GENERALITY: value, **parts, "reliability": 1.0, "locality": 0.99}

    failure = "the worker died\nTraceback <most recent call last>"
    return make_study(
        [
            trial_class({"n": 0}, {0: found(0.4), 1: found(0.6)}),
            trial_class({"n": 1}, {0: found(0.6), 1: found(0.8)}),
            trial_class({"n": 2}, {0: None}, state="failed", failure=failure),
        ],
        expect="At least 10 points more.",
        more={"definition": "abc123"},
    )


def test_the_page_says_what_was_asked_and_expected(small: Any) -> None:
    page = Page(render_report(small))
    assert page.open == []
    for text in ("small", "Does it carry over?", "At least 10 points more.", "abc123", "cpu"):
        assert text in page.text
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1


def test_the_table_holds_means_and_paired_differences(small: Any) -> None:
    source = render_report(small)
    assert "50.0 <small>± 10.0</small>" in source
    assert "70.0 <small>± 10.0</small>" in source
    # 0.2 in both streams: the difference has no spread, though each trial has
    assert "+20.0 <small>[+20.0, +20.0]</small>" in source
    assert source.count('<tr class="baseline">') == 1
    page = Page(source)
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    assert sum(cell.get("scope") == "row" for cell in page.all("th")) == 2


def test_a_failed_trial_is_listed_with_its_reason(small: Any) -> None:
    source = render_report(small)
    assert "<b>2 n=2</b>: failed, the worker died" in source
    assert "Traceback &lt;most recent call last&gt;" in source
    assert "2 of 3" in Page(source).text


def test_a_pruned_trial_is_listed_and_drawn_nowhere(make_study: Any, trial_class: Any) -> None:
    found = {GENERALITY: 0.25, "reliability": 1.0}
    pruned_at = {"step": 5, "value": 0.25}
    results = make_study(
        [
            trial_class({"n": 0}, {0: {GENERALITY: 0.5, "reliability": 1.0}}),
            trial_class({"n": 1}, {0: found}, state="pruned", pruned_at=pruned_at),
        ]
    )
    source = render_report(results)
    assert "<b>1 n=1</b>: pruned at step 5, at a running value of 0.25</li>" in source
    assert '1<span class="tag state">pruned</span>' in source
    assert "trials pruned" in Page(source).text
    assert ">25.0" not in source  # though its stream is complete
    assert ">50.0" in source


def test_hostile_text_stays_text(make_study: Any, trial_class: Any) -> None:
    hostile = "<script>alert('x')</script><img src=http://evil.example/x>&amp;\"'"
    results = make_study(
        [trial_class({"<i>p": hostile}, {0: {GENERALITY: 0.5}}, label=hostile, failure=hostile)],
        question=hostile,
        expect=hostile,
        more={"definition": hostile, "provenance": {hostile: hostile}},
    )
    source = render_report(results)
    assert "<script>alert" not in source
    page = Page(source)
    assert page.all("img") == [] and page.all("i") == []
    assert hostile in page.text  # shown as it was written


def test_the_page_needs_nothing_from_anywhere(small: Any) -> None:
    page = Page(render_report(small))
    for tag, attributes in page.tags:
        assert not {"src", "href", "srcset", "action", "data"} & attributes.keys(), tag
    assert page.all("link") == [] and page.all("iframe") == []
    (style,) = re.findall(r"<style>(.*?)</style>", render_report(small), re.DOTALL)
    assert "url(" not in style and "@import" not in style
    (policy,) = [m for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_plotly_is_embedded_once(small: Any) -> None:
    source = render_report(small)
    assert source.count("plotly.js v") == 1
    assert (
        len(
            re.findall(
                r"Plotly\.newPlot\(",
                re.sub(r"plotly\.js v.*?</script>", "", source, flags=re.DOTALL),
            )
        )
        == 3
    )


def test_the_same_results_give_the_same_page(small: Any) -> None:
    assert render_report(small) == render_report(small)


def test_figures_have_fixed_names(small: Any) -> None:
    names = {attrs.get("id") for attrs in Page(render_report(small)).all("div")}
    assert {"ablation-curve", "cross-lingual-heatmap", "trade-off"} <= names


def test_a_study_without_a_complete_trial_says_so(make_study: Any, trial_class: Any) -> None:
    running = trial_class({"n": 0}, {0: None}, state="running")
    for trials in ([], [running]):
        page = Page(render_report(make_study(trials)))
        assert "No trial of this study is complete yet." in page.text
        assert page.all("table") == [] and page.all("script") == []


def test_complete_streams_of_an_incomplete_trial_are_shown(
    make_study: Any, trial_class: Any
) -> None:
    trial = trial_class({"n": 0}, {0: {GENERALITY: 0.5}, 1: None}, state="running")
    page = Page(render_report(make_study([trial])))
    assert "No trial of this study is complete yet." in page.text
    assert len(page.all("table")) == 1
    assert "running" in page.text


def test_one_stream_has_no_interval(make_study: Any, trial_class: Any) -> None:
    trials = [trial_class({"n": n}, {0: {GENERALITY: 0.5 + n / 10}}) for n in (0, 1)]
    page = Page(render_report(make_study(trials)))
    assert "±" not in page.text and "interval over streams" not in page.text
    assert "+10.0" in page.text


def test_single_edits_get_a_sentence_for_the_curve_along_the_stream(small: Any) -> None:
    assert "there is nothing to follow along a stream" in Page(render_report(small)).text
