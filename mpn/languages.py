"""Language tags, checked once at the border, and how far languages are from each other."""

import functools
import re
from collections.abc import Mapping

from mpn.errors import MpnInputError

_TAG = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")


def is_language(tag: str) -> bool:
    """Whether ``tag`` is well formed."""
    return _TAG.fullmatch(tag) is not None


def check_language(tag: str, *, place: str) -> str:
    """Return ``tag`` if it is a well-formed language tag such as ``sw`` or ``zh-Hant``.

    Args:
        tag: An ISO 639 code, optionally with a script and a region (BCP 47).
        place: Where the tag was written, for the error.

    Returns:
        The tag unchanged.

    Raises:
        MpnInputError: If the tag is not of that form.
    """
    if not isinstance(tag, str) or not is_language(tag):
        raise MpnInputError(
            place, f"{tag!r} is not a language tag", "write one like en, sw or zh-Hant"
        )
    return tag


# Family, branch and script of languages that multilingual models read. Families after Glottolog 5,
# branches as they are commonly named; scripts of ISO 15924, the one mostly written.
_LINEAGES = """
Indo-European Germanic Latn: af da de en fy is lb nb nl nn no sv
Indo-European Germanic Hebr: yi
Indo-European Romance Latn: ca es fr gl it oc pt ro
Indo-European Slavic Latn: bs cs hr pl sk sl
Indo-European Slavic Cyrl: be bg mk ru sr uk
Indo-European Baltic Latn: lt lv
Indo-European Hellenic Grek: el
Indo-European Armenic Armn: hy
Indo-European Albanian Latn: sq
Indo-European Celtic Latn: br cy ga gd
Indo-European Indo-Aryan Deva: hi mr ne
Indo-European Indo-Aryan Beng: as bn
Indo-European Indo-Aryan Gujr: gu
Indo-European Indo-Aryan Guru: pa
Indo-European Indo-Aryan Orya: or
Indo-European Indo-Aryan Sinh: si
Indo-European Indo-Aryan Arab: sd ur
Indo-European Iranian Arab: fa ps
Indo-European Iranian Cyrl: tg
Indo-European Iranian Latn: ku
Afro-Asiatic Semitic Arab: ar
Afro-Asiatic Semitic Hebr: he
Afro-Asiatic Semitic Ethi: am ti
Afro-Asiatic Semitic Latn: mt
Afro-Asiatic Cushitic Latn: om so
Afro-Asiatic Chadic Latn: ha
Atlantic-Congo Bantu Latn: ln lg rw sn sw xh zu
Atlantic-Congo Volta-Niger Latn: ig yo
Atlantic-Congo Atlantic Latn: wo
Uralic Finnic Latn: et fi
Uralic Ugric Latn: hu
Turkic Turkic Latn: az tr uz
Turkic Turkic Cyrl: kk ky tt
Turkic Turkic Arab: ug
Mongolic Mongolic Cyrl: mn
Dravidian Dravidian Knda: kn
Dravidian Dravidian Mlym: ml
Dravidian Dravidian Taml: ta
Dravidian Dravidian Telu: te
Sino-Tibetan Sinitic Hani: yue zh
Sino-Tibetan Burmese Mymr: my
Tai-Kadai Tai Thai: th
Tai-Kadai Tai Laoo: lo
Austroasiatic Vietic Latn: vi
Austroasiatic Khmeric Khmr: km
Austronesian Malayo-Polynesian Latn: fil id jv mg ms su tl
Japonic Japonic Jpan: ja
Koreanic Koreanic Kore: ko
Kartvelian Kartvelian Geor: ka
Quechuan Quechuan Latn: qu
isolate Basque Latn: eu
constructed Esperanto Latn: eo
"""


@functools.cache
def _lineages() -> Mapping[str, tuple[str, str, str]]:
    found = {}
    for line in _LINEAGES.strip().splitlines():
        lineage, languages = line.split(": ")
        family, branch, script = lineage.split()
        found.update(dict.fromkeys(languages.split(), (family, branch, script)))
    return found


def lineage(tag: str, *, place: str) -> tuple[str, str, str]:
    """Return a language's family, its branch of it, and its script; a script in the tag counts.

    Args:
        tag: A language tag.
        place: Where it was written, for the error.

    Raises:
        MpnInputError: If the table has no such language.
    """
    language, *rest = tag.split("-")
    if language not in _lineages():
        raise MpnInputError(
            place,
            f"no family and script is known of {tag}",
            "leave it out of the candidates, or choose languages without them",
        )
    family, branch, script = _lineages()[language]
    return family, branch, next((part for part in rest if part.istitle()), script)


def distance(first: str, second: str, *, place: str) -> int:
    """Return how many of family, branch and script two languages do not share, 0 to 3.

    Raises:
        MpnInputError: If the table lacks one of them.
    """
    pairs = zip(lineage(first, place=place), lineage(second, place=place), strict=True)
    return sum(one != other for one, other in pairs)
