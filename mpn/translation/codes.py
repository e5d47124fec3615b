"""What translation models call the languages."""

import difflib
import re
from collections.abc import Collection

from mpn.errors import MpnInputError

_FLORES = """
af afr_Latn am amh_Ethi ar arb_Arab az azj_Latn be bel_Cyrl bg bul_Cyrl bn ben_Beng bs bos_Latn
ca cat_Latn cs ces_Latn cy cym_Latn da dan_Latn de deu_Latn el ell_Grek en eng_Latn es spa_Latn
et est_Latn eu eus_Latn fa pes_Arab fi fin_Latn fr fra_Latn ga gle_Latn gl glg_Latn gu guj_Gujr
ha hau_Latn he heb_Hebr hi hin_Deva hr hrv_Latn ht hat_Latn hu hun_Latn hy hye_Armn id ind_Latn
ig ibo_Latn is isl_Latn it ita_Latn ja jpn_Jpan jv jav_Latn ka kat_Geor kk kaz_Cyrl km khm_Khmr
kn kan_Knda ko kor_Hang lo lao_Laoo lt lit_Latn lv lvs_Latn mk mkd_Cyrl ml mal_Mlym mn khk_Cyrl
mr mar_Deva ms zsm_Latn my mya_Mymr nb nob_Latn ne npi_Deva nl nld_Latn no nob_Latn pa pan_Guru
pl pol_Latn ps pbt_Arab pt por_Latn qu quy_Latn ro ron_Latn ru rus_Cyrl si sin_Sinh sk slk_Latn
sl slv_Latn so som_Latn sq als_Latn sr srp_Cyrl sv swe_Latn sw swh_Latn ta tam_Taml te tel_Telu
th tha_Thai tl tgl_Latn tr tur_Latn uk ukr_Cyrl ur urd_Arab uz uzn_Latn vi vie_Latn wo wol_Latn
xh xho_Latn yo yor_Latn zh zho_Hans zh-Hans zho_Hans zh-Hant zho_Hant zu zul_Latn
""".split()
FLORES = dict(zip(_FLORES[::2], _FLORES[1::2], strict=True))
"""Language tags, and what NLLB calls them."""

_TWO_LETTERS = re.compile(r"[a-z]{2}")


def code_for(language: str, known: Collection[str], chosen: str | None, *, model: str) -> str:
    """Return what a model calls a language.

    Args:
        language: Its tag.
        known: All codes of the model: ``fr`` as M2M100 has them, ``fra_Latn`` as NLLB, either or
            ``fra`` as Marian.
        chosen: What the user says that it is, or None.
        model: Its name, for the error.

    Raises:
        MpnInputError: If the model knows none.
    """
    primary = language.partition("-")[0]
    flores = [FLORES[tag] for tag in (language, primary) if tag in FLORES]
    guesses = [language, *flores[:1], primary, *(code.partition("_")[0] for code in flores)]
    for guess in guesses if chosen is None else [chosen]:
        if guess in known:
            return guess
    tried = guesses[1] if chosen is None and flores else chosen or language
    near = difflib.get_close_matches(tried, sorted(known), n=3, cutoff=0.4)
    raise MpnInputError(
        f"translator.codes.{language}",
        f"{model} does not know {chosen or language!r}",
        (f"near it are {', '.join(near)}; " if near else "")
        + f"name what the model calls it: --code {language}=CODE",
    )


def check_target(language: str, stated: str | None, chosen: str | None, *, model: str) -> None:
    """Refuse a model of one direction that says itself that it is for another language.

    Args:
        language: Tag of the language asked for.
        stated: What the model's tokenizer says; only codes of two letters are trusted.
        chosen: What the user says that the model calls it, or None.
        model: Its name, for the error.

    Raises:
        MpnInputError: If they differ.
    """
    wanted = chosen or language.partition("-")[0]
    trusted = stated is not None and _TWO_LETTERS.fullmatch(stated)
    if trusted and _TWO_LETTERS.fullmatch(wanted) and stated != wanted:
        raise MpnInputError(
            "translator.name",
            f"{model} is for {stated}, not for {language}",
            "name a model for this direction; {source} and {target} in its name stand for the "
            "languages of each: Helsinki-NLP/opus-mt-{source}-{target}",
        )
