import shutil
from pathlib import Path

import pytest
from tiny_translators import save_tiny_m2m100, save_tiny_marian, save_tiny_nllb

from mpn.data.mini.claims import mini_corpus
from mpn.errors import MpnInputError
from mpn.translation.codes import FLORES, check_target, code_for
from mpn.translation.routes import (
    ModelMissingError,
    Route,
    Routes,
    check_names,
    fetch,
    find,
    plan_routes,
)
from mpn.translation.settings import TranslatorSettings
from mpn.translation.translator import Translator, check_languages, load_tokenizer

TEXTS = ("Anna Berg was born in Oslo.", "Oslo is a city.", "She lives there with her old aunt.")
COMMIT = "0" * 40


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("translators")
    save_tiny_m2m100(folder / "m2m100")
    save_tiny_marian(folder / "opus-en-fr")
    save_tiny_marian(folder / "opus-fr-en", source="fr", target="en")
    save_tiny_marian(folder / "opus-en-roa", source="eng", target="roa", codes=("fra", "ita"))
    return folder


@pytest.fixture(scope="session")
def m2m100(models):
    return Translator(models / "m2m100", device="cpu")


@pytest.fixture(scope="session")
def marian(models):
    return Translator(models / "opus-en-fr", device="cpu")


def settings(**changes):
    return TranslatorSettings(**{"name": "m", "beams": 2, "batch": 2, "max_tokens": 16, **changes})


def route(translator, source="en", target="fr"):
    return Route(translator.directory.name, translator.directory, source, target)


# -- translating --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["m2m100", "marian"])
def test_every_text_gets_one_translation_and_always_the_same(kind, request):
    translator = request.getfixturevalue(kind)
    asked = [*TEXTS, TEXTS[0]]
    first = translator.translate(asked, route(translator), settings())
    assert set(first) == set(TEXTS)
    assert first == translator.translate(reversed(asked), route(translator), settings())
    assert all(one.text for one in first.values())


def test_what_is_blank_stays_blank(m2m100):
    said = m2m100.translate(["", " \n"], route(m2m100), settings())
    assert {one.text for one in said.values()} == {""}
    assert not any(one.truncated for one in said.values())


def generated(translator, monkeypatch, **direction):
    """Translate one text; return the ids that went into the model, and those that came out."""
    seen = {}
    generate = translator._model.generate

    def spy(**inputs):
        output = generate(**inputs)
        seen.update(inputs=inputs["input_ids"][0].tolist(), output=output[0].tolist())
        return output

    with monkeypatch.context() as patch:
        patch.setattr(translator._model, "generate", spy)
        translator.translate(TEXTS[:1], route(translator, **direction), settings())
    return seen["inputs"], seen["output"]


def test_m2m100_is_told_both_languages_by_their_tokens(m2m100, models, monkeypatch):
    ids = load_tokenizer(models / "m2m100").lang_code_to_id
    for source, target in (("en", "sw"), ("fr", "zh-Hans")):
        inputs, output = generated(m2m100, monkeypatch, source=source, target=target)
        assert inputs[0] == ids[source]
        assert output[1] == ids[target.partition("-")[0]]


def test_nllb_is_told_both_languages_by_its_own_codes(models, monkeypatch):
    translator = Translator(save_tiny_nllb(models / "nllb"), device="cpu")
    vocabulary = load_tokenizer(models / "nllb").get_vocab()
    inputs, output = generated(translator, monkeypatch, source="sw", target="zh-Hant")
    assert inputs[0] == vocabulary["swh_Latn"]
    assert output[1] == vocabulary["zho_Hant"]


def test_tokens_of_languages_are_no_part_of_the_text(m2m100):
    said = m2m100.translate(TEXTS, route(m2m100), settings())
    assert not any("__" in one.text for one in said.values())


def test_a_marian_model_of_several_targets_is_told_in_the_text(models, monkeypatch):
    translator = Translator(models / "opus-en-roa", device="cpu")
    vocabulary = load_tokenizer(models / "opus-en-roa").get_vocab()
    for target, code in (("fr", "fra"), ("it", "ita")):
        inputs, _ = generated(translator, monkeypatch, target=target)
        assert inputs[0] == vocabulary[f">>{code}<<"]


def test_a_text_too_long_for_the_model_is_truncated_and_says_so(m2m100):
    text = "Oslo is a city. " * 3
    length = len(load_tokenizer(m2m100.directory)(text)["input_ids"])
    short = {"beams": 1, "batch": 1}

    def truncated_inputs(max_tokens):
        seen = []
        generate = m2m100._model.generate
        m2m100._model.generate = lambda **inputs: (
            seen.append(inputs["input_ids"].shape[1]),
            generate(**inputs),
        )[1]
        try:
            said = m2m100.translate([text], route(m2m100), settings(max_tokens=max_tokens, **short))
        finally:
            del m2m100._model.generate
        return seen[0], said[text].truncated

    assert truncated_inputs(length - 1) == (length - 1, True)
    assert truncated_inputs(length)[0] == length


def test_a_translation_that_does_not_end_is_flagged_as_truncated(marian):
    said = marian.translate(TEXTS, route(marian), settings())
    assert all(one.truncated for one in said.values())  # this one's weights never end


def test_a_translation_that_ends_is_whole(m2m100):
    texts = [example.texts["en"][0] for example in mini_corpus().examples[:8]]
    said = m2m100.translate(texts, route(m2m100), settings(max_tokens=24))
    assert not all(one.truncated for one in said.values())


# -- loading ------------------------------------------------------------------------------


def test_weights_in_another_format_than_safetensors_are_not_loaded(models, tmp_path):
    folder = shutil.copytree(models / "m2m100", tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(MpnInputError, match="safetensors"):
        Translator(folder, device="cpu")


def test_a_model_that_does_not_translate_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(MpnInputError, match="of the type 'bert'"):
        Translator(tmp_path, device="cpu")
    with pytest.raises(MpnInputError, match=r"no config\.json"):
        Translator(tmp_path / "nothing", device="cpu")


# -- names of languages -------------------------------------------------------------------

M2M100 = {"en", "fr", "zh", "sw"}
NLLB = {"eng_Latn", "fra_Latn", "zho_Hans", "zho_Hant", "swh_Latn"}


@pytest.mark.parametrize(
    ("language", "known", "code"),
    [
        ("fr", M2M100, "fr"),
        ("fr-CA", M2M100, "fr"),
        ("zh-Hant", M2M100, "zh"),
        ("fr", NLLB, "fra_Latn"),
        ("sw", NLLB, "swh_Latn"),
        ("zh", NLLB, "zho_Hans"),
        ("zh-Hant", NLLB, "zho_Hant"),
        ("fr", {"fra", "ita"}, "fra"),
        ("fr", {"fr", "it"}, "fr"),
    ],
)
def test_a_model_s_own_name_of_a_language_is_found(language, known, code):
    assert code_for(language, known, None, model="m") == code


def test_a_name_that_the_user_gives_counts():
    assert code_for("zh", NLLB, "zho_Hant", model="m") == "zho_Hant"
    with pytest.raises(MpnInputError, match="m does not know 'zho_Hans_'; near it are zho_Hans"):
        code_for("zh", NLLB, "zho_Hans_", model="m")


def test_a_language_that_a_model_does_not_know_gets_the_near_ones():
    with pytest.raises(MpnInputError) as caught:
        code_for("nb", {"nno_Latn", "eng_Latn"}, None, model="m")
    assert caught.value.place == "translator.codes.nb"
    assert caught.value.wanted.startswith("near it are nno_Latn")
    assert "--code nb=CODE" in caught.value.wanted


def test_the_table_of_codes_is_well_formed():
    assert len(FLORES) > 70
    assert all(len(code) == 8 and code[3] == "_" for code in FLORES.values())


@pytest.mark.parametrize("stated", ["fr", None, "fra", "roa"])
def test_a_model_of_one_direction_is_taken_at_its_word(stated):
    check_target("fr", stated, None, model="m")


def test_a_model_of_another_direction_is_refused():
    with pytest.raises(MpnInputError, match="m is for fr, not for sw"):
        check_target("sw", "fr", None, model="m")
    check_target("sw", "fr", "fr", model="m")  # the user insists


def test_languages_are_checked_without_loading_weights(models, tmp_path):
    folder = shutil.copytree(models / "m2m100", tmp_path / "no-weights")
    (folder / "model.safetensors").unlink()
    check_languages([Route("m", folder, "en", "fr")], {})
    with pytest.raises(MpnInputError, match="does not know 'tlh'"):
        check_languages([Route("m", folder, "en", "tlh")], {})


# -- which model --------------------------------------------------------------------------


def plan(asked, **direction):
    options = {"source": "en", "target": "fr", "via": (), **direction}
    return plan_routes(asked, **options, locate=find(asked))


def directions(routes: Routes):
    return [(one.directory.name, one.source, one.target) for one in routes]


def test_m2m100_serves_all_directions(models):
    asked = settings(name=str(models / "m2m100"))
    assert directions(plan(asked, via=("de",))) == [
        ("m2m100", "en", "fr"),
        ("m2m100", "fr", "en"),
        ("m2m100", "fr", "de"),
        ("m2m100", "de", "fr"),
    ]
    assert directions(plan(asked, target="en", via=("de", "fr"))) == [
        ("m2m100", "en", "de"),
        ("m2m100", "de", "en"),
        ("m2m100", "en", "fr"),
        ("m2m100", "fr", "en"),
    ]


def test_a_language_is_not_rephrased_through_itself(models):
    asked = settings(name=str(models / "m2m100"))
    assert plan(asked, via=("fr",)).detours == ()


def test_without_a_model_back_there_is_no_round_trip(models):
    assert plan(settings(name=str(models / "opus-en-fr"))).back is None


def test_a_second_marian_model_translates_back(models):
    asked = settings(name=str(models / "opus-en-fr"), back=str(models / "opus-fr-en"))
    assert directions(plan(asked, via=("de",))) == [
        ("opus-en-fr", "en", "fr"),
        ("opus-fr-en", "fr", "en"),
    ]
    assert directions(plan(asked, target="en", via=("fr",))) == [
        ("opus-en-fr", "en", "fr"),
        ("opus-fr-en", "fr", "en"),
    ]


def test_a_name_with_gaps_stands_for_a_model_of_each_direction(models):
    asked = settings(name=str(models / "opus-{source}-{target}"))
    assert directions(plan(asked)) == [("opus-en-fr", "en", "fr"), ("opus-fr-en", "fr", "en")]


def test_rephrases_of_the_source_need_a_model_back(models):
    asked = settings(name=str(models / "opus-en-fr"))
    with pytest.raises(MpnInputError, match="no model translates from fr back to en"):
        plan(asked, target="en", via=("fr",))


def test_a_model_that_is_not_here_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = settings(name="somebody/some-model", revisions={"somebody/some-model": COMMIT})
    with pytest.raises(ModelMissingError):
        plan(asked)
    with pytest.raises(MpnInputError, match="cannot be had from the hub"):
        plan_routes(asked, source="en", target="fr", via=(), locate=fetch(asked))


def refusal(asked, **direction):
    with pytest.raises(MpnInputError) as caught:
        check_names(asked, **{"source": "en", "target": "fr", "via": (), **direction})
    return caught.value


def test_a_hub_model_is_pinned_to_a_commit(models):
    assert refusal(settings(name="a/b")).place == "translator.revisions.a/b"
    assert refusal(settings(name="no model")).place == "translator.name"
    check_names(settings(name="a/b", revisions={"a/b": COMMIT}), source="en", target="fr", via=())
    check_names(settings(name=str(models / "m2m100")), source="en", target="fr", via=())


def test_every_model_of_a_name_with_gaps_is_pinned():
    asked = settings(name="a/b-{source}-{target}", revisions={"a/b-en-fr": COMMIT})
    assert refusal(asked).place == "translator.revisions.a/b-fr-en"
    assert refusal(asked, target="en", via=("de",)).place == "translator.revisions.a/b-en-de"


def test_a_name_with_other_gaps_is_refused():
    assert "{source} and {target}" in refusal(settings(name="a/{lang}")).wanted


def test_the_default_is_a_model_of_the_hub():
    assert not Path(TranslatorSettings().name).exists()
    assert refusal(TranslatorSettings()).place == "translator.revisions.facebook/m2m100_418M"
