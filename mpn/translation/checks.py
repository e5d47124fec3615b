"""Checks of a translation against its source: pure functions of two texts.

They are made to be believed when they speak: a name may be transliterated, a number may be
written out, so a check that cannot tell says nothing. What they flag goes to people.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher

from mpn.edits import Text
from mpn.translation.settings import CheckSettings

_NUMBER = re.compile(r"\d+(?:[.,'\u00a0\u202f\u2009\u066b\u066c\u2019]\d+)*")
_RUN_OF_WORDS = re.compile(r"\b(\w+(?:\W+\w+){0,3}?)(?:\W+\1\b){3,}", re.IGNORECASE)
_RUN_OF_LETTERS = re.compile(r"([^\W\d_]{2,10}?)\1{4,}")
_LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f][A-Za-z\u00c0-\u024f0-9'’-]*[A-Za-z\u00c0-\u024f]")
_TOKEN = re.compile(r"\w[\w'’-]*|[^\w\s]")
_ENDS_OF_SENTENCES = frozenset('.!?:;"“”«»(')
_LEAST_ALIKE = 0.6
_SHORT_WORD = 3
_LONG_NUMBER = 4
_COPY_WORDS, _COPY_LETTERS = 4, 20
_SLACK = 10
_WEIGHTS = {"CJK": 3.0, "HIRAGANA": 2.0, "KATAKANA": 2.0, "HANGUL": 2.0}


def is_empty(source: str, translation: str) -> bool:
    """Whether nothing came of something."""
    return bool(source.strip()) and not translation.strip()


def is_copy(source: str, translation: str) -> bool:
    """Whether the source came back untranslated; short texts, names say, may well."""
    words, letters = source.split(), sum(map(str.isalpha, source))
    long_enough = len(words) >= _COPY_WORDS or letters >= _COPY_LETTERS
    return long_enough and normalised(source) == normalised(translation)


def is_repetitive(source: str, translation: str) -> bool:
    """Whether up to four words stand four times in a row, or a syllable five times.

    Decoders fall into such loops. A source that repeats itself may be repeated.
    """
    return _repeats(translation) and not _repeats(source)


def loses_numbers(source: str, translation: str) -> bool:
    """Whether a number of the source, in digits of any script, is missing.

    Signs between digits do not count, so ``1,234.5`` is ``1.234,5`` and ``1 234,5``; neither do
    numbers that are in the translation alone, since a written-out one may become digits.
    """
    kept = _numbers(translation)
    together = "".join(kept)
    return any(
        number not in kept and not (len(number) >= _LONG_NUMBER and number in together)
        for number in _numbers(source)
    )


def loses_names(source: str, translation: str) -> bool:
    """Whether a name of the source is missing.

    Latin words in a text of another script have to be kept. Between two texts in Latin script, a
    run of two or more capitalised words counts as a name, without a short word that begins the
    sentence; it is missing if no word of the translation is like any word of it, accents aside.
    Names that change their script are not looked for.
    """
    if not _is_latin(source):
        kept = {word.casefold() for word in _LATIN_WORD.findall(translation)}
        return any(word.casefold() not in kept for word in _LATIN_WORD.findall(source))
    if not _is_latin(translation):
        return False
    words = [_plain(word) for word in re.findall(r"\w+", translation)]
    return any(not _is_among(name, words) for name in _names(source))


def length_ratio(source: str, translation: str) -> float:
    """Return by how much a translation is longer.

    Characters of dense scripts count for several (Han three, kana and Hangul two), and ten are
    added to both lengths, so that short texts may differ more.
    """
    return (_length(translation) + _SLACK) / (_length(source) + _SLACK)


def chrf(source: str, returned: str) -> float:
    """Return sacrebleu's sentence chrF of a text translated there and back, in [0, 100]."""
    from sacrebleu.metrics.chrf import CHRF  # takes a while, and only workers need it

    return float(CHRF().sentence_score(returned, [source]).score)


CHECKS: Mapping[str, Callable[[str, str], bool]] = {
    "empty": is_empty,
    "copy": is_copy,
    "repetition": is_repetitive,
    "numbers": loses_numbers,
    "names": loses_names,
}
"""Checks that need no threshold, by the flag that they set."""


def faults(source: Text, translation: Text) -> tuple[str, ...]:
    """Return the flags of all checks that need no threshold, over all segments."""
    pairs = list(zip(source, translation, strict=True))
    return tuple(flag for flag, check in CHECKS.items() if any(check(a, b) for a, b in pairs))


def flags(
    source: Text,
    translation: Text,
    *,
    round_trip: float | None,
    truncated: bool,
    settings: CheckSettings,
) -> tuple[str, ...]:
    """Return everything that speaks against a translation.

    Args:
        source: One or two segments.
        translation: As many.
        round_trip: chrF in [0, 100], or None if it was not translated back.
        truncated: Whether the model could not take or give the whole of it.
        settings: Where the lines are.

    Returns:
        Flags, those of :data:`CHECKS` first, then ``length``, ``round_trip``, ``truncated``.
    """
    found = list(faults(source, translation))
    ratios = [length_ratio(a, b) for a, b in zip(source, translation, strict=True)]
    if not all(settings.shortest <= ratio <= settings.longest for ratio in ratios):
        found.append("length")
    if round_trip is not None and round_trip < settings.round_trip:
        found.append("round_trip")
    if truncated:
        found.append("truncated")
    return tuple(found)


def normalised(text: str) -> str:
    """Return a text without case, accents' encoding, punctuation and extra space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", folded))


def _repeats(text: str) -> bool:
    return bool(_RUN_OF_WORDS.search(text) or _RUN_OF_LETTERS.search(text))


def _numbers(text: str) -> list[str]:
    return [
        "".join(str(unicodedata.decimal(c)) for c in number if c.isdecimal())
        for number in _NUMBER.findall(text)
    ]


def _names(text: str) -> list[list[str]]:
    """Return the runs of two or more capitalised words, plain."""
    names: list[list[str]] = [[]]
    begins = True
    for token in _TOKEN.findall(text):
        if token[0].isupper() and not (begins and len(token) <= _SHORT_WORD):
            names[-1].append(_plain(token))
        else:
            names.append([])
        begins = token in _ENDS_OF_SENTENCES
    return [name for name in names if len(name) > 1]


def _is_among(name: list[str], words: list[str]) -> bool:
    return any(
        SequenceMatcher(None, part, word).ratio() >= _LEAST_ALIKE for part in name for word in words
    )


def _plain(word: str) -> str:
    """Return a word without case and accents."""
    spread = unicodedata.normalize("NFKD", word.casefold())
    return "".join(c for c in spread if not unicodedata.combining(c))


def _is_latin(text: str) -> bool:
    letters = [c for c in text if c.isalpha()]
    latin = sum(unicodedata.name(c, "").startswith("LATIN") for c in letters)
    return bool(letters) and 2 * latin >= len(letters)


def _length(text: str) -> float:
    return sum(_WEIGHTS.get(unicodedata.name(c, "").split(" ")[0], 1.0) for c in text)
