import pytest

from mpn.errors import MpnInputError
from mpn.languages import check_language


@pytest.mark.parametrize("tag", ["en", "fil", "zh-Hant", "pt-BR", "es-419", "sr-Latn-RS"])
def test_a_language_tag_comes_back_unchanged(tag):
    assert check_language(tag, place="here") == tag


@pytest.mark.parametrize("tag", ["", "e", "en\n", "EN", "english", "zh-hant", "en_US", False, None])
def test_anything_else_is_refused_with_its_place(tag):
    with pytest.raises(MpnInputError, match=r"^here: .* is not a language tag; write one like en"):
        check_language(tag, place="here")
