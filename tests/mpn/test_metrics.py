"""The metrics, on numbers small enough to check by hand."""

import pytest
import torch

from mpn.edits import ParallelEdit, ParallelExample
from mpn.errors import MpnInputError
from mpn.metrics.audience import Panel, edit_cells, padded
from mpn.metrics.measure import measure_accuracy_retention, measure_edit, measure_locality
from mpn.metrics.summary import summarise
from mpn.metrics.values import MetricValue, pooled_mean

EXAMPLE = ParallelExample(
    "claim",
    "fact",
    1,
    {"en": ("Anna skis",), "fr": ("Anna skie",), "de": ("Anna fährt Ski",)},
    {"en": (("Anna is a skier",), ("Skiing is Anna's",)), "fr": (("Anna fait du ski",),)},
)
NEAR = ParallelExample("near", "other fact", 0, {"en": ("Anna sings",), "fr": ("a",), "de": ("b",)})
EDIT = ParallelEdit("claim", 1, "en", EXAMPLE)
LANGUAGES = ("en", "de", "fr")
CELLS = edit_cells(EDIT, LANGUAGES, [NEAR])


def value(metric="reliability", language="en", number=1.0, n=1, protocol="single", **more):
    return MetricValue(metric, language, protocol, number, n, more.pop("position", 0), **more)


def measured(before, after):
    found = measure_edit(
        EDIT, CELLS, before, after, protocol="single", position=4, seen=frozenset(["fr"])
    )
    return {(v.metric, v.language): v for v in found}


def test_columns_are_the_texts_then_rephrases_then_neighbours():
    assert [(cell.kind, cell.language) for cell in CELLS] == [
        ("source", "en"),
        ("parallel", "de"),
        ("parallel", "fr"),
        ("rephrase", "en"),
        ("rephrase", "en"),
        ("rephrase", "fr"),
        ("neighbour", "en"),
        ("neighbour", "de"),
        ("neighbour", "fr"),
    ]
    assert padded(CELLS, 10)[-1] == ("Anna skis",)


def test_an_edit_is_measured_on_all_its_texts():
    #                 en de fr  en en fr  near x 3
    found = measured([0, 0, 1, 0, 0, 0, 0, 0, 1], [1, 0, 1, 1, 0, 1, 0, 1, 1])
    numbers = {key: (v.value, v.n) for key, v in found.items()}
    assert numbers == {
        ("reliability", "en"): (1.0, 1),
        ("cross_lingual_generality", "de"): (0.0, 1),
        ("cross_lingual_generality", "fr"): (1.0, 1),
        ("cross_lingual_correction", "de"): (0.0, 1),  # fr was right before: no correction
        ("generality", "en"): (0.5, 2),
        ("cross_lingual_rephrase", "fr"): (1.0, 1),
        ("near_locality", "en"): (1.0, 1),
        ("near_locality", "de"): (0.0, 1),
        ("near_locality", "fr"): (1.0, 1),
    }
    assert [v.language for v in found.values() if v.seen] == ["fr"] * 3
    assert {v.position for v in found.values()} == {4}


def test_columns_beyond_an_edits_own_are_padding():
    padding = [1, 1]
    assert measured([0] * 9 + padding, [1] * 9 + padding) == measured([0] * 9, [1] * 9)


def test_locality_is_agreement_with_the_base_model_not_accuracy():
    panel = Panel((("a",),) * 4, ("en", "en", "fr", "fr"), (1, 1, 1, 1))
    first, second = measure_locality(
        panel,
        torch.tensor([0, 1, 0, 1]),
        torch.tensor([[0, 0, 0, 1], [1, 0, 1, 1]]),
        protocol="single",
        positions=[4, 5],
        edit_ids=["d", "e"],
    )
    assert [(v.language, v.value, v.n) for v in first] == [("en", 0.5, 2), ("fr", 1.0, 2)]
    assert [(v.language, v.value, v.n) for v in second] == [("en", 0.0, 2), ("fr", 0.5, 2)]
    assert [(v.position, v.edit_id) for v in (first[0], second[1])] == [(4, "d"), (5, "e")]


def test_retention_of_accuracy_is_a_ratio_and_absent_without_a_base():
    panel = Panel((("a",),) * 5, ("en", "en", "en", "fr", "fr"), (1, 1, 1, 1, 1))
    found = list(
        measure_accuracy_retention(
            "test_retention", panel, [1, 1, 0, 0, 0], [1, 1, 1, 1, 1], protocol="sequential"
        )
    )
    assert [(v.language, v.value, v.n) for v in found] == [("en", 1.5, 3)]


def test_a_summary_weighs_cases_within_a_language_and_languages_equally():
    summary = summarise(
        [
            value("locality", "en", 1.0, n=3),
            value("locality", "en", 0.0, n=1),
            value("locality", "fr", 0.25, n=100),
        ]
    )
    assert summary == {
        "locality": (0.5, 104),
        "locality/en": (0.75, 4),
        "locality/fr": (0.25, 100),
    }


def test_seen_and_unseen_languages_are_told_apart():
    name = "cross_lingual_generality"
    summary = summarise([value(name, "fr", 1.0, seen=True), value(name, "de", 0.0)])
    assert summary[name] == (0.5, 2)
    assert summary[f"{name}_seen"] == (1.0, 1)
    assert summary[f"{name}_unseen"] == (0.0, 1)
    only_seen = summarise([value(name, "fr", 1.0, seen=True)])
    assert f"{name}_unseen" not in only_seen


def test_curves_along_the_stream_have_no_mean():
    assert summarise([value("edit_retention_so_far", protocol="sequential")]) == {}


def test_protocols_are_never_averaged_together():
    with pytest.raises(MpnInputError, match="single and sequential edits apart"):
        pooled_mean([value(), value(protocol="sequential")])


@pytest.mark.parametrize(("number", "n"), [(0.5, 0), (float("nan"), 1)])
def test_an_undefined_value_cannot_be_made(number, n):
    with pytest.raises(ValueError, match="reliability"):
        value(number=number, n=n)
