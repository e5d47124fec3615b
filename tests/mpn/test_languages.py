import pytest

from mpn.errors import MpnInputError
from mpn.languages import _LINEAGES, check_language, distance, is_language


@pytest.mark.parametrize("tag", ["en", "fil", "zh-Hant", "pt-BR", "es-419", "sr-Latn-RS"])
def test_a_language_tag_comes_back_unchanged(tag):
    assert check_language(tag, place="here") == tag


@pytest.mark.parametrize("tag", ["", "e", "en\n", "EN", "english", "zh-hant", "en_US", False, None])
def test_anything_else_is_refused_with_its_place(tag):
    with pytest.raises(MpnInputError, match=r"^here: .* is not a language tag; write one like en"):
        check_language(tag, place="here")


@pytest.mark.parametrize(
    ("first", "second", "steps"),
    [
        ("de", "sv", 0),
        ("hi", "ur", 1),  # the script
        ("en", "es", 1),  # the branch
        ("en", "ru", 2),  # branch and script
        ("en", "sw", 2),  # family and branch
        ("en", "zh", 3),
        ("sr", "bs", 1),
        ("sr-Latn", "bs", 0),
        ("pt-BR", "fr", 0),
        ("yo", "zu", 1),
    ],
)
def test_languages_are_as_far_as_family_branch_and_script_differ(first, second, steps):
    assert distance(first, second, place="here") == distance(second, first, place="here") == steps


def test_a_language_of_no_known_family_is_refused_with_its_place():
    with pytest.raises(MpnInputError, match=r"^here: no family and script is known of tlh"):
        distance("en", "tlh", place="here")


def test_every_language_in_the_table_is_a_tag_that_stands_there_once():
    lines = [line.split(": ")[1].split() for line in _LINEAGES.strip().splitlines()]
    languages = [language for line in lines for language in line]
    assert all(is_language(language) for language in languages)
    assert len(languages) == len(set(languages))
