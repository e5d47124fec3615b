"""What becomes of rows, with a translator that looks sentences up."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mpn.edits import ParallelExample
from mpn.translation.checks import chrf
from mpn.translation.routes import Route, Routes
from mpn.translation.settings import TranslatorSettings
from mpn.translation.shards import translate_rows
from mpn.translation.translator import Translated


@dataclass
class Wordbook:
    """Knows sentences by direction; what it does not know stays as it is."""

    entries: dict[tuple[str, str, str], str]
    cut: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, list[str]]] = field(default_factory=list)

    def __call__(self, route):
        return self

    def translate(self, texts, route, settings):
        texts = sorted(set(texts))
        self.asked.append((route.source, route.target, texts))
        return {
            text: Translated(
                self.entries.get((route.source, route.target, text), text), text in self.cut
            )
            for text in texts
        }


def route(source, target):
    return Route("m", Path("m"), source, target)


FORTH, BACK = route("en", "fr"), route("fr", "en")
DETOUR = (route("en", "de"), route("de", "en"))


def row(id_, *text, rephrases=()):
    return ParallelExample(id_, "g", 0, {"en": text}, {"en": tuple(rephrases)})


def lines_of(rows, book, routes, *, batch=2, done=0):
    settings = TranslatorSettings(name="m", batch=batch)
    batches = list(translate_rows(rows, "en", routes, book, settings, done=done))
    return dict(pair for found in batches for pair in found)


def line_of(text, book, routes, **options):
    return lines_of([row("a", *text, **options)], book, routes)[0]


def test_a_row_is_translated_and_translated_back():
    book = Wordbook({("en", "fr", "one"): "un", ("fr", "en", "un"): "ones"})
    line = line_of(("one",), book, Routes(FORTH, BACK, ()))
    assert (line.text, line.truncated, line.rephrases) == (("un",), False, ())
    assert line.round_trip == chrf("one", "ones")


def test_a_pair_is_scored_by_its_worse_segment():
    book = Wordbook({("en", "fr", "one"): "un", ("fr", "en", "un"): "ones"})
    line = line_of(("one", "two"), book, Routes(FORTH, BACK, ()))
    assert line.text == ("un", "two")
    assert line.round_trip == chrf("one", "ones") < chrf("two", "two")


def test_a_row_is_truncated_if_a_segment_of_it_is():
    book = Wordbook({}, cut={"two"})
    found = lines_of([row("a", "one", "two"), row("b", "one")], book, Routes(FORTH, None, ()))
    assert [found[place].truncated for place in (0, 1)] == [True, False]


def test_long_rows_are_translated_first_and_equal_segments_once():
    rows = [row("a", "x"), row("b", "long", "p"), row("c", "long", "q"), row("d", "yy")]
    book = Wordbook({})
    found = lines_of(rows, book, Routes(FORTH, None, ()))
    assert [texts for _, _, texts in book.asked] == [["long", "p", "q"], ["x", "yy"]]
    assert {place: line.id for place, line in found.items()} == {0: "a", 1: "b", 2: "c", 3: "d"}


@pytest.mark.parametrize("done", [0, 2, 4])
def test_work_goes_on_with_the_same_batches(done):
    rows = [row(str(i), "x" * (9 - i)) for i in range(5)]
    whole, rest = Wordbook({}), Wordbook({})
    found = lines_of(rows, whole, Routes(FORTH, None, ()))
    again = lines_of(rows, rest, Routes(FORTH, None, ()), done=done)
    assert rest.asked == whole.asked[done // 2 :]
    assert again == {place: found[place] for place in sorted(found)[done:]}


# -- rephrases ----------------------------------------------------------------------------

SENTENCE = "Berg was born in 1987."


def rephrases_of(returned, *, cut=(), text=SENTENCE, **options):
    book = Wordbook({("en", "de", text): "abroad", ("de", "en", "abroad"): returned}, set(cut))
    return line_of((text,), book, Routes(None, None, (DETOUR,)), **options).rephrases


def test_another_wording_is_kept():
    assert rephrases_of("In 1987, Berg was born.") == (("In 1987, Berg was born.",),)


@pytest.mark.parametrize(
    "returned",
    [
        SENTENCE,
        "  berg was born, in 1987 ",  # the same when normalised
        "Berg was born in 1978.",  # loses a number
        "",
        "1987 1987 1987 1987 1987",
    ],
)
def test_what_says_the_same_or_less_is_not_kept(returned):
    assert rephrases_of(returned) == ()


@pytest.mark.parametrize("cut", [SENTENCE, "abroad"])
def test_what_was_truncated_on_the_way_is_not_kept(cut):
    assert rephrases_of("In 1987, Berg was born.", cut={cut}) == ()


def test_a_text_with_rephrases_of_its_own_gets_none():
    options = {"rephrases": [("Berg's year is 1987.",)]}
    assert rephrases_of("In 1987, Berg was born.", **options) == ()


def test_the_same_rephrase_through_two_languages_is_kept_once():
    entries = {}
    for other in ("de", "it"):
        entries |= {("en", other, "one"): other, (other, "en", other): "a one"}
    detours = tuple((route("en", other), route(other, "en")) for other in ("de", "it"))
    line = line_of(("one",), Wordbook(entries), Routes(None, None, detours))
    assert line.rephrases == (("a one",),)


def test_translations_get_rephrases_in_their_own_language():
    entries = {
        ("en", "fr", "one"): "un",
        ("fr", "de", "un"): "ein",
        ("de", "fr", "ein"): "une",
    }
    detour = (route("fr", "de"), route("de", "fr"))
    options = {"rephrases": [("a one",)]}  # in English, which says nothing of French
    line = line_of(("one",), Wordbook(entries), Routes(FORTH, None, (detour,)), **options)
    assert (line.text, line.rephrases) == (("un",), (("une",),))
