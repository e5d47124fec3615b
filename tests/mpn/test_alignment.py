"""From rows to parallel examples: what is wrong is counted and named, refused or dropped."""

import logging
from dataclasses import replace

import pytest

from mpn.data.alignment import UNVERIFIED, align
from mpn.data.rows import Row
from mpn.data.settings import DatasetSettings
from mpn.errors import MpnInputError

LABELS = ("SUPPORTS", "REFUTES", "NOT ENOUGH INFO")


def row(example_id="1", language="en", label="SUPPORTS", text=None, **more):
    return Row(example_id, more.pop("group", ""), language, label, text or ("Snow.",), **more)


def pair(example_id, label="SUPPORTS", **french):
    english = row(example_id, "en", label)
    return [english, replace(english, language="fr", **french)]


GOOD = pair("good")


def aligned(rows, *, known=LABELS, languages=("en", "fr"), **settings):
    return align(
        rows,
        languages=languages,
        known_labels=known,
        settings=DatasetSettings(name="files", path="here", **settings),
        place="claims.jsonl",
    )


BAD = {
    "id missing in a language": ([row("1", "en")], "id '1' not in fr"),
    "duplicate id": ([*pair("1"), row("1", "fr")], "id '1' 2 times in fr"),
    "label differs between languages": (
        [row("1"), row("1", "fr", "REFUTES")],
        "id '1': 'SUPPORTS' in en, 'REFUTES' in fr",
    ),
    "unknown label": (pair("1", "MAYBE"), "'MAYBE', id '1' in en"),
    "blank text": (pair("1", text=(" \u200b\n",)), "id '1' in fr"),
    "text of more than 20000 characters": (pair("1", text=("x" * 100_000,)), "id '1' in fr"),
    "control character": (pair("1", text=("a\x00b",)), "id '1' in fr"),
    "group differs between languages": (pair("1", group="g"), "id '1': '' in en, 'g' in fr"),
    "a single text here, a pair there": (pair("1", text=("a", "b")), "id '1'"),
    "row without an id": ([row(" ")], "id ' ' in 'en'"),
    "no language tag": ([row("1", "")], "id '1' in ''"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_row_is_refused_with_its_kind_count_and_example(kind):
    rows, example = BAD[kind]
    n = 2 if kind == "unknown label" else 1  # in both languages
    with pytest.raises(MpnInputError) as error:
        aligned([*GOOD, *rows])
    assert error.value.found == f"bad rows: {kind}: {n} (first: {example})"
    assert error.value.place == "claims.jsonl"
    assert "set dataset.bad_rows: drop" in error.value.wanted


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_row_is_dropped_with_its_example_and_said_once(kind, caplog):
    with caplog.at_level(logging.WARNING):
        corpus = aligned([*GOOD, *BAD[kind][0]], bad_rows="drop")
    assert [e.example_id for e in corpus.examples] == ["good"]
    assert set(corpus.dropped) == {kind}
    assert len(caplog.records) == 1
    assert f"{kind}: {corpus.dropped[kind]}" in caplog.text


def test_all_kinds_stand_in_one_error_the_most_frequent_first():
    rows = [*GOOD, row("1"), row("2"), *pair("3", "MAYBE", text=("\x07",))]
    with pytest.raises(MpnInputError) as error:
        aligned(rows)
    assert error.value.found == (
        "bad rows: id missing in a language: 2 (first: id '1' not in fr); "
        "unknown label: 2 (first: 'MAYBE', id '3' in en); "
        "blank text: 1 (first: id '3' in fr); control character: 1 (first: id '3' in fr)"
    )
    assert error.value.wanted.endswith("which leaves out 3 of 4 examples")


def test_good_rows_are_silent(caplog):
    with caplog.at_level(logging.WARNING):
        assert aligned(GOOD).dropped == {}
    assert caplog.records == []


@pytest.mark.parametrize(("length", "is_good"), [(5, True), (6, False)])
def test_a_text_may_have_exactly_the_longest_length(length, is_good):
    rows = pair("1", text=("x" * length,))
    if is_good:
        assert len(aligned(rows, max_characters=5).examples) == 1
    else:
        with pytest.raises(MpnInputError, match="text of more than 5 characters: 1"):
            aligned(rows, max_characters=5)


@pytest.mark.parametrize("character", ["\x00", "\x08", "\x1b", "\x7f", "\x85", "\ud800"])
def test_characters_that_control_a_terminal_are_bad(character):
    with pytest.raises(MpnInputError, match="control character"):
        aligned(pair("1", text=(f"a{character}b",)))


@pytest.mark.parametrize("name", ["id", "group", "label"])
def test_names_are_held_to_the_same_rule(name):
    rows = [replace(one, **{name: "a\x1bb"}) for one in pair("1")]
    with pytest.raises(MpnInputError, match="control character: 2"):
        aligned(rows, known=())


RIGHT_TO_LEFT = "\u2067قال: \u202bأنا هنا\u202c\u2069\u200f!\u200e"


@pytest.mark.parametrize("text", ["a\tb\nc\r\n", RIGHT_TO_LEFT, "👩\u200d🔬", "\u3000雪。"])
def test_other_characters_come_through_unchanged(text):
    corpus = aligned(pair("1", text=(text,), rephrases=((text,),)))
    assert corpus.examples[0].texts["fr"] == (text,)
    assert corpus.examples[0].rephrases["fr"] == ((text,),)


def test_rephrases_are_held_to_the_same_rules():
    with pytest.raises(MpnInputError, match="blank text: 1"):
        aligned(pair("1", rephrases=(("fine",), ("",))))


def test_an_error_shows_hostile_ids_shortened_and_without_their_controls():
    with pytest.raises(MpnInputError) as error:
        aligned([*GOOD, row("\x1b[31m\u202e" + "x" * 10_000)])
    assert "\x1b" not in str(error.value) and "\u202e" not in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("bad_rows", ["refuse", "drop"])
def test_a_language_without_any_row_is_always_refused(bad_rows):
    with pytest.raises(MpnInputError, match=r"no row in th; name others in .*languages: en fr"):
        aligned(GOOD, languages=("en", "th"), bad_rows=bad_rows)


def test_rows_in_languages_that_nobody_asked_for_are_no_matter():
    assert len(aligned([*GOOD, row("good", "de", "MAYBE", ("\x00",))]).examples) == 1


def test_nothing_left_is_said():
    with pytest.raises(MpnInputError, match="no example is left; 1 ids"):
        aligned([row("1", "en", "x"), row("1", "fr", "x")], bad_rows="drop")


# -- labels -------------------------------------------------------------------------------


def test_labels_are_the_same_in_every_spelling():
    corpus = aligned([row("1", "en", "not_enough_info"), row("1", "fr", "Not Enough-Info")])
    assert corpus.labels == ("NOT ENOUGH INFO",)  # as the corpus spells it; others do not occur


def test_labels_that_are_not_asked_for_are_left_out_without_a_word(caplog):
    rows = [*pair("1", "REFUTES"), *pair("2", "NOT ENOUGH INFO"), *pair("3", "SUPPORTS")]
    with caplog.at_level(logging.WARNING):
        two = aligned(rows, labels=["refutes", "SUPPORTS"])
    assert [(e.example_id, e.label) for e in two.examples] == [("1", 0), ("3", 1)]
    assert two.labels == ("REFUTES", "SUPPORTS")  # in the order that is asked for
    assert caplog.records == []


def test_labels_of_other_languages_are_compared_before_any_are_left_out():
    rows = [row("1", "en", "SUPPORTS"), row("1", "fr", "NOT ENOUGH INFO"), *GOOD]
    with pytest.raises(MpnInputError, match="label differs between languages: 1"):
        aligned(rows, labels=["SUPPORTS"])


def test_a_corpus_that_knows_no_labels_takes_those_of_the_rows_in_alphabetical_order():
    corpus = aligned([*pair("1", "yes"), *pair("2", "No"), *pair("3", "no")], known=())
    assert corpus.labels == ("No", "yes")
    assert [e.label for e in corpus.examples] == [1, 0, 0]


def test_a_label_that_is_asked_for_must_occur():
    with pytest.raises(MpnInputError, match=r"no example of claims\.jsonl has maybe; its labels"):
        aligned(pair("1", "yes"), known=(), labels=["yes", "maybe"])


# -- translations -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "verified", "is_kept"),
    [
        ("passed", "any", True),
        ("flagged", "any", True),
        ("rejected", "any", False),
        ("passed", "only", True),
        ("accepted", "only", True),
        ("corrected", "only", True),
        ("flagged", "only", False),
        ("rejected", "only", False),
    ],
)
def test_translations_are_kept_as_far_as_they_are_verified(status, verified, is_kept, caplog):
    with caplog.at_level(logging.WARNING):
        corpus = aligned([*GOOD, *pair("1", status=status)], verified=verified)
    assert len(corpus.examples) == 1 + is_kept
    assert corpus.dropped == ({} if is_kept else {UNVERIFIED: 1})
    assert len(caplog.records) == (not is_kept)


def test_what_is_wrong_with_a_rejected_translation_is_no_matter():
    corpus = aligned([*GOOD, *pair("1", status="rejected", text=("\x00",))])
    assert corpus.dropped == {UNVERIFIED: 1}


# -- order, size, fingerprint -------------------------------------------------------------


def test_examples_stand_in_the_order_of_their_first_rows_and_a_limit_counts_good_ones():
    rows = [*pair("b"), row("bad"), *pair("a"), *pair("c")]
    corpus = aligned(rows, bad_rows="drop", limit=2)
    assert [e.example_id for e in corpus.examples] == ["b", "a"]


def test_whatever_an_example_holds_enters_the_fingerprint():
    prints = {
        aligned(rows).fingerprint
        for rows in (
            pair("1"),
            pair("2"),
            pair("1", "REFUTES"),
            pair("1", text=("Neige.",)),
            pair("1", rephrases=(("Neige.",),)),
            [replace(one, group="g") for one in pair("1")],
        )
    }
    assert len(prints) == 6
    assert aligned(pair("1")).fingerprint == aligned(pair("1")).fingerprint
