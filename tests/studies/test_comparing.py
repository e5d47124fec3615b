"""Paired bootstrap and Holm's correction, on numbers that can be checked by hand."""

import numpy as np
import pytest
from scipy import stats

from studies.analysis.comparing import compare, holm, paired


def edits(*differences, streams=None, n=1):
    """The first trial has 0 everywhere, the second the differences, in one language."""
    streams = streams or [0] * len(differences)
    keys = [(stream, i, "e") for i, stream in enumerate(streams)]
    ours = {key: {"fr": (d, n)} for key, d in zip(keys, differences, strict=True)}
    return paired({key: {"fr": (0.0, n)} for key in keys}, ours)


def compared(pairs, *, clustered=False, level=0.95, resamples=999, seed=0, targets=("fr", "de")):
    generator = np.random.default_rng(seed)
    return compare(
        pairs, targets, clustered=clustered, level=level, generator=generator, resamples=resamples
    )


@pytest.mark.parametrize("clustered", [False, True])
def test_equal_differences_have_an_interval_of_no_width(clustered):
    pairs = edits(0.5, 0.5, 0.5, 0.5, streams=[0, 0, 1, 1])
    found = compared(pairs, clustered=clustered)[0]["fr"]
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)
    assert found.p == pytest.approx(2 / 1000)  # no resample of 999 is at or below zero


def test_no_difference_at_all_has_p_one():
    found = compared(edits(0.0, 0.0, 0.0))[0]["fr"]
    assert (found.mean, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_the_difference_is_second_minus_first_over_cases():
    first = {(0, 0, "a"): {"fr": (0.5, 2)}, (0, 1, "b"): {"fr": (0.0, 1)}}
    second = {(0, 0, "a"): {"fr": (1.0, 2)}, (0, 1, "b"): {"fr": (1.0, 1)}}
    found = compared(paired(first, second))[0]["fr"]
    # cases right: 1 of 3 and 3 of 3
    assert (found.first, found.second) == pytest.approx((1 / 3, 1.0))
    assert found.mean == pytest.approx(2 / 3)
    assert found.edits == 2


def test_the_macro_mean_counts_each_target_language_once():
    first = {(0, i, "e"): {"en": (0.0, 1), "fr": (0.0, 9), "de": (0.0, 1)} for i in range(2)}
    second = {(0, i, "e"): {"en": (1.0, 1), "fr": (1.0, 9), "de": (0.5, 1)} for i in range(2)}
    by_language, macro = compared(paired(first, second))
    assert list(by_language) == ["de", "en", "fr"]
    assert macro.mean == 0.75
    assert (macro.low, macro.high, macro.p_holm) == (0.75, 0.75, None)


def test_without_a_target_language_there_is_no_macro_mean():
    assert compared(edits(0.5, 0.5), targets=("de",))[1] is None


def test_only_what_both_have_is_paired():
    first = {(0, 0, "a"): {"fr": (1.0, 1), "de": (1.0, 1)}, (0, 1, "b"): {"fr": (0.0, 1)}}
    second = {(0, 0, "a"): {"fr": (0.0, 1)}, (0, 2, "b"): {"fr": (0.0, 1)}}
    pairs = paired(first, second)
    assert pairs.parts == ("de", "fr")
    assert pairs.cases.tolist() == [[0.0, 1.0]]
    assert list(compared(pairs)[0]) == ["fr"]


def test_one_stream_whose_edits_hang_together_has_no_interval():
    found = compared(edits(0.0, 1.0), clustered=True)[0]["fr"]
    assert (found.mean, found.low, found.high, found.p, found.p_holm) == (
        0.5,
        None,
        None,
        None,
        None,
    )


def test_streams_that_differ_widen_the_interval_only_where_streams_are_drawn():
    pairs = edits(*[1.0] * 20, *[0.0] * 20, streams=[0] * 20 + [1] * 20)
    alone, together = (compared(pairs, clustered=c)[0]["fr"] for c in (False, True))
    # of two streams, each resample has both, or one of them twice: one time in four each
    assert (together.low, together.high) == (0.0, 1.0)
    assert alone.low > 0.3 and alone.high < 0.7


def test_holm_on_a_triple_from_a_textbook():
    # sorted .01 .03 .04: 3 x .01, 2 x .03, and 1 x .04 raised to the one before it
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_languages_are_corrected_as_one_family():
    keys = [(0, i, "e") for i in range(40)]
    first = {key: {"de": (0.0, 1), "fr": (0.0, 1)} for key in keys}
    second = {k: {"de": (float(k[1] < 8), 1), "fr": (float(k[1] % 2), 1)} for k in keys}
    by_language, _ = compared(paired(first, second))
    raw = [one.p for one in by_language.values()]
    assert [one.p_holm for one in by_language.values()] == pytest.approx(holm(raw))


def test_the_interval_over_edits_agrees_with_scipy():
    values = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], 80, p=[0.1, 0.5, 0.4])
    ours = compared(edits(*values), resamples=9999)[0]["fr"]
    theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=2).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.026)  # two steps


def test_the_p_value_agrees_with_a_sign_permutation_test():
    values = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], 100, p=[0.22, 0.43, 0.35])
    ours = compared(edits(*values), resamples=9999)[0]["fr"]
    theirs = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=2000, rng=4
    )
    assert 0.02 < theirs.pvalue < 0.5
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.03)


@pytest.mark.parametrize(("clustered", "between"), [(False, 0.0), (True, 0.0), (True, 0.1)])
def test_intervals_cover_the_truth_about_as_often_as_they_say(clustered, between):
    generator = np.random.default_rng(5)
    streams = [s for s in range(10) for _ in range(10)]
    hits = 0
    for _ in range(150):
        means = np.repeat(0.3 + between * generator.standard_normal(10), 10)
        pairs = edits(*(means + 0.5 * generator.standard_normal(100)), streams=streams)
        found = compared(pairs, clustered=clustered, level=0.9, resamples=199, seed=6)[0]["fr"]
        hits += found.low <= 0.3 <= found.high
    assert hits / 150 >= 0.84
    assert clustered or hits / 150 <= 0.96


def test_the_same_generator_gives_the_same_interval():
    pairs = edits(*np.linspace(-1, 1, 11))
    assert compared(pairs, seed=7) == compared(pairs, seed=7)
    assert compared(pairs, seed=7) != compared(pairs, seed=8)
