import pytest
import sacrebleu

from mpn.translation.checks import (
    chrf,
    faults,
    flags,
    is_copy,
    is_empty,
    is_repetitive,
    length_ratio,
    loses_names,
    loses_numbers,
    normalised,
)
from mpn.translation.settings import CheckSettings

ANNA = "Anna Berg was born in Oslo in 1987."


def test_nothing_out_of_something_is_empty():
    assert is_empty("A claim.", " ")
    assert not is_empty("A claim.", "x")
    assert not is_empty(" ", "")


@pytest.mark.parametrize(
    ("source", "translation", "expected"),
    [
        ("one two three four", "One, two three FOUR.", True),
        ("one two three", "one two three", False),  # three words may be a name
        ("Zürich Hauptbahnhof Süd", "Zürich Hauptbahnhof Süd", True),  # 21 letters
        ("安娜出生于奥斯陆", "安娜出生于奥斯陆", False),  # eight
        ("one two three four", "un deux trois quatre", False),
    ],
)
def test_a_long_text_that_came_back_as_it_was_is_a_copy(source, translation, expected):
    assert is_copy(source, translation) is expected


@pytest.mark.parametrize(
    ("translation", "expected"),
    [
        ("non non non", False),
        ("non non non non", True),
        ("elle est née, elle est née, elle est née", False),
        ("elle est née, elle est née, elle est née, elle est née", True),
        ("一个一个一个一个", False),
        ("一个一个一个一个一个", True),
        ("Anna est née à Oslo en 1987.", False),
        ("aaaaaaaaa", False),
        ("aaaaaaaaaa", True),  # five times aa
    ],
)
def test_loops_of_a_decoder_are_repetitions(translation, expected):
    assert is_repetitive(ANNA, translation) is expected


def test_what_the_source_repeats_may_be_repeated():
    assert not is_repetitive("no no no no", "non non non non")


@pytest.mark.parametrize(
    ("source", "translation", "expected"),
    [
        ("in 1987", "en 1987", False),
        ("in 1987", "en 1978", True),
        ("in 1987", "en mille neuf cent quatre-vingt-sept", True),
        ("two dogs", "2 chiens", False),  # not in digits in the source
        ("in 1987", "سنة ١٩٨٧", False),
        ("in 1987", "१९८७ में", False),
        ("१९८७ में", "in 1986", True),
        ("1,234.5 km", "1.234,5 km", False),
        ("1,234 km", "1 234 km", False),
        ("7 of 12", "7 de 21", True),
        ("123 dogs", "1234 chiens", True),  # short numbers have to stand alone
        ("in 1987 and 1987", "en 1987", False),
        ("no digits", "pas de chiffres", False),
    ],
)
def test_numbers_have_to_be_kept_in_digits_of_any_script(source, translation, expected):
    assert loses_numbers(source, translation) is expected


@pytest.mark.parametrize(
    ("source", "translation", "expected"),
    [
        ("The singer Anna Berg lives in Oslo.", "La chanteuse Anna Berg vit à Oslo.", False),
        ("The singer Anna Berg lives in Oslo.", "La chanteuse vit là.", True),
        ("Anna Berg lives.", "Elle vit.", True),  # also at the beginning
        ("The Bergs live.", "Elle vit.", False),  # a short first word belongs to no name
        ("He saw the United States.", "Il a vu les États-Unis.", False),  # much alike
        ("He lives in Germany.", "Il vit en Allemagne.", False),  # one word may be translated
        ("Anna Berg lives.", "Анна Берг живёт.", False),  # another script: not looked for
        ("安娜昨天在奥斯陆的商店买了iPhone和iPad。", "She has an iPhone and an iPad.", False),
        ("安娜昨天在奥斯陆的商店买了iPhone和iPad。", "She has an iPhone.", True),
        ("她在这里。", "She is here.", False),
    ],
)
def test_names_have_to_be_kept_where_that_can_be_told(source, translation, expected):
    assert loses_names(source, translation) is expected


def test_lengths_are_compared_with_ten_added_to_both():
    assert length_ratio("a" * 10, "b" * 30) == 2.0
    assert length_ratio("", "") == 1.0


def test_dense_scripts_count_for_several_letters():
    assert length_ratio("a" * 20, "安" * 10) == 40 / 30
    assert length_ratio("a" * 20, "あ" * 10) == 1.0
    assert length_ratio("a" * 20, "한" * 10) == 1.0


def test_chrf_is_sacrebleus_own():
    returned, source = "Anna Berg was born in Oslo.", ANNA
    assert chrf(source, returned) == sacrebleu.sentence_chrf(returned, [source]).score
    assert chrf(source, source) == pytest.approx(100)
    assert chrf("abc", "xyz") == 0
    # one of two character unigrams right, nothing longer: precision = recall = 1/2 and 0
    assert chrf("ab", "ac") == pytest.approx(100 * (1 / 2 + 0) / 2)


def flags_of(source, translation, *, round_trip=None, truncated=False, **settings):
    return flags(
        source,
        translation,
        round_trip=round_trip,
        truncated=truncated,
        settings=CheckSettings(**settings),
    )


def test_a_faithful_translation_has_no_flags():
    assert flags_of((ANNA,), ("Anna Berg est née à Oslo en 1987.",), round_trip=80.0) == ()


def test_every_check_has_its_flag():
    assert flags_of(("four words in here",), ("",)) == ("empty", "length")
    assert flags_of((ANNA,), (ANNA,)) == ("copy",)
    assert flags_of((ANNA,), ("Elle est née à Oslo.",), truncated=True) == (
        "numbers",
        "names",
        "truncated",
    )


def test_a_pair_has_the_flags_of_both_segments():
    assert faults(("in 1987", "one two three four"), ("en 1978", "one two three four")) == (
        "copy",
        "numbers",
    )


@pytest.mark.parametrize(
    ("round_trip", "expected"),
    [(None, ()), (29.9, ("round_trip",)), (30.0, ()), (100.0, ())],
)
def test_a_round_trip_below_the_line_is_flagged_if_there_was_one(round_trip, expected):
    assert flags_of(("a",), ("b",), round_trip=round_trip) == expected


@pytest.mark.parametrize(
    ("n_letters", "expected"),
    # (n + 10) / (30 + 10), between 0.5 and 2
    [(9, ("length",)), (10, ()), (70, ()), (71, ("length",))],
)
def test_a_length_outside_the_lines_is_flagged(n_letters, expected):
    source, translation = "s" * 29 + ".", "st " * 24
    found = flags_of((source,), (translation[:n_letters],), shortest=0.5, longest=2.0)
    assert tuple(flag for flag in found if flag == "length") == expected


def test_texts_that_differ_in_case_and_signs_are_the_same_when_normalised():
    assert normalised("  Él, ＡＢＣ!") == normalised("él abc")
    assert normalised("el abc") != normalised("él abc")
