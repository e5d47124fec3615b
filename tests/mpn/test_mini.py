"""The embedded corpus and its base model."""

import re
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    XLMRobertaForSequenceClassification,
)

from mpn.data.mini.base_model import MiniRecipe, ensure_base_model
from mpn.data.mini.claims import (
    LANGUAGE_COVERAGE,
    NEVER_SEEN,
    TEMPLATE_COVERAGE,
    mini_corpus,
)
from mpn.data.mini.people import PEOPLE
from mpn.data.mini.templates import TEMPLATES
from mpn.data.mini.world import EXCEPTION_RATE, N_TYPES, hidden_types, world_facts
from mpn.training import AlignmentSettings, TrainingSettings

SEEDS = range(5)  # of the world
TINY = MiniRecipe(
    d_model=8,
    n_layers=1,
    n_heads=2,
    d_ffn=8,
    vocabulary_size=600,
    max_tokens=80,
    alignment=AlignmentSettings(n_steps=2, batch_size=8),
    classification=TrainingSettings(n_steps=2, batch_size=8),
)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    return ensure_base_model(tmp_path_factory.mktemp("models"), TINY)


def test_a_world_of_336_facts_makes_672_claims_in_four_wordings():
    corpus = mini_corpus()
    assert corpus.name == "mini"
    assert corpus.languages == ("en", "fr", "de", "es", "ru", "zh")
    assert corpus.labels == ("REFUTES", "SUPPORTS")
    assert len(corpus.examples) == 2688
    assert len({e.example_id.split("/")[0] for e in corpus.examples}) == 672
    assert set(Counter(e.group for e in corpus.examples).values()) == {8}
    assert set(Counter(e.neighbourhood for e in corpus.examples).values()) == {7 * 8}
    assert corpus.examples[1].example_id == "claim-0000-true/t1"
    assert corpus.examples[4].example_id == "claim-0001-false/t0"


def test_the_corpus_is_the_same_in_every_process():
    # recorded once; a change here is a new corpus, and every number measured on it moves
    assert (
        mini_corpus(0).fingerprint
        == "3d17379218dbf4a447edb171062093b4a55fe1a64c98c9be9418b8cde025ca15"
    )


def test_the_seed_selects_the_corpus():
    rebuilt = mini_corpus.__wrapped__(0)
    assert rebuilt == mini_corpus(0)
    assert rebuilt is not mini_corpus(0)
    assert len({mini_corpus(seed).fingerprint for seed in SEEDS}) == len(SEEDS)


def test_every_fact_has_as_many_supports_as_refutes():
    labels = defaultdict(Counter)
    for example in mini_corpus().examples:
        labels[example.group][example.label] += 1
    assert all(count == {0: 4, 1: 4} for count in labels.values())


def test_no_text_stands_twice_in_a_language():
    corpus = mini_corpus()
    for language in corpus.languages:
        assert len({e.texts[language] for e in corpus.examples}) == len(corpus.examples)


def test_last_names_are_unique_in_every_script():
    for language in ("en", "ru", "zh"):
        assert len({person.names[language].split()[-1] for person in PEOPLE}) == len(PEOPLE) == 48


def test_texts_are_finished_and_in_their_script():
    wrong_script = {"ru": "[A-Za-z一-鿿]", "zh": "[A-Za-zА-я]"}
    for example in mini_corpus().examples:
        for language, (text,) in example.texts.items():
            assert not re.search(wrong_script.get(language, "[А-я一-鿿]"), text), text
            assert not re.search(r"[\[\]{}|]|  ", text), text
            assert text.endswith("。" if language == "zh" else "."), text


def test_every_wording_names_person_and_object_once():
    for by_language in TEMPLATES.values():
        for wordings in by_language.values():
            assert all(wording.count("{person}") == 1 for wording in wordings)
            assert all(wording.count("{object}") == 1 for wording in wordings)


def test_words_agree_with_the_person():
    texts = {e.texts["fr"][0].rsplit(" à ")[0] for e in mini_corpus().examples}
    assert "Anna Abril est née" in texts
    assert "Adam Almeida est né" in texts


def test_rephrases_are_the_other_wordings_of_the_same_claim():
    corpus = mini_corpus()
    for start in range(0, len(corpus.examples), 4):
        claim = corpus.examples[start : start + 4]
        for language in corpus.languages:
            wordings = [e.texts[language] for e in claim]
            for template, example in enumerate(claim):
                others = [w for number, w in enumerate(wordings) if number != template]
                assert list(example.rephrases[language]) == others


@pytest.mark.parametrize("seed", SEEDS)
def test_the_object_alone_does_not_give_the_label_away(seed):
    true_claims, false_claims = Counter(), Counter()
    for fact in world_facts(seed):
        true_claims[fact.relation, fact.true_object] += 1
        false_claims[fact.relation, fact.false_object] += 1
    assert true_claims == false_claims


@pytest.mark.parametrize("seed", SEEDS)
def test_the_false_object_of_an_exception_is_the_stereotype(seed):
    for fact in world_facts(seed):
        assert fact.false_object != fact.true_object
        assert fact.stereotype == (fact.false_object if fact.is_exception else fact.true_object)


@pytest.mark.parametrize("seed", SEEDS)
def test_people_of_one_type_share_their_stereotypes(seed):
    types = hidden_types(seed)
    assert set(Counter(types).values()) == {len(PEOPLE) // N_TYPES}
    stereotypes = defaultdict(set)
    for fact in world_facts(seed):
        stereotypes[fact.relation, types[fact.person]].add(fact.stereotype)
    assert all(len(objects) == 1 for objects in stereotypes.values())
    assert len({(relation, *s) for (relation, _), s in stereotypes.items()}) == 7 * N_TYPES


def test_exceptions_are_as_frequent_as_designed():
    facts = [fact for seed in SEEDS for fact in world_facts(seed)]
    # 1,680 draws: standard error 0.0087, three of them tolerated
    rate = sum(fact.is_exception for fact in facts) / len(facts)
    assert rate == pytest.approx(EXCEPTION_RATE, abs=0.026)


@pytest.mark.parametrize("language", LANGUAGE_COVERAGE)
def test_coverage_is_as_designed(language):
    examples = [example for seed in SEEDS for example in mini_corpus(seed).examples]
    # 3,360 independent claims; the share of a claim's wordings that is seen has a standard
    # deviation below 0.39, so the standard error is below 0.0067: three of them tolerated
    rate = sum(language in e.trained_languages for e in examples) / len(examples)
    designed = (1 - NEVER_SEEN) * LANGUAGE_COVERAGE[language] * TEMPLATE_COVERAGE
    assert rate == pytest.approx(designed, abs=0.02)


def test_some_claims_are_never_seen():
    seen = defaultdict(bool)
    for seed in SEEDS:
        for example in mini_corpus(seed).examples:
            seen[seed, example.example_id.split("/")[0]] |= bool(example.trained_languages)
    # 3,360 claims: standard error 0.0041, three of them tolerated
    assert 1 - sum(seen.values()) / len(seen) == pytest.approx(NEVER_SEEN, abs=0.0125)


def test_the_base_model_is_an_ordinary_hugging_face_directory(tiny_model):
    path = tiny_model
    assert path.name == f"mini-{TINY.identity[:12]}"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]

    model, report = AutoModelForSequenceClassification.from_pretrained(
        path, output_loading_info=True
    )
    assert isinstance(model, XLMRobertaForSequenceClassification)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert model.config.id2label == {0: "REFUTES", 1: "SUPPORTS"}

    tokenizer = AutoTokenizer.from_pretrained(path)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    assert len(tokenizer) == model.config.vocab_size == 600
    ids = tokenizer("Anna Abril", "安娜").input_ids
    assert ids[0] == tokenizer.cls_token_id == 0
    assert ids.count(tokenizer.sep_token_id) == 3  # <s> A </s> </s> B </s>
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Anna Abril 安娜"
    longest = tokenizer(["wort " * 200], truncation=True, return_tensors="pt")
    assert longest.input_ids.shape == (1, 80)
    assert model(**longest).logits.shape == (1, 2)


def test_no_text_of_the_corpus_has_an_unknown_token_or_is_truncated(tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    texts = [text for e in mini_corpus().examples for (text,) in e.texts.values()]
    encoded = tokenizer(texts).input_ids
    assert not any(tokenizer.unk_token_id in ids for ids in encoded)
    assert max(map(len, encoded)) <= 80


def test_a_model_is_trained_once(tmp_path):
    told = []
    first = ensure_base_model(tmp_path, TINY, lambda *step: told.append(step))
    assert told == [("align", 1, 2), ("align", 2, 2), ("classify", 1, 2), ("classify", 2, 2)]
    written = (first / "model.safetensors").stat().st_mtime_ns
    assert ensure_base_model(tmp_path, TINY, lambda *step: told.append(step)) == first
    assert len(told) == 4
    assert (first / "model.safetensors").stat().st_mtime_ns == written


def test_training_twice_gives_the_same_files(tiny_model, tmp_path):
    torch.rand(1)  # the state of the global generator does not matter
    first, second = tiny_model, ensure_base_model(tmp_path, TINY)
    names = sorted(entry.name for entry in first.iterdir())
    assert names == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_both_stages_change_the_weights(tiny_model, tmp_path):
    def weights_without(stage):
        recipe = replace(TINY, **{stage: replace(getattr(TINY, stage), n_steps=0)})
        return load_file(ensure_base_model(tmp_path, recipe) / "model.safetensors")

    trained = load_file(tiny_model / "model.safetensors")
    unaligned, unsupervised = weights_without("alignment"), weights_without("classification")
    name = "roberta.encoder.layer.0.output.dense.weight"
    assert not torch.equal(trained[name], unaligned[name])
    assert not torch.equal(trained[name], unsupervised[name])


def test_an_interrupted_training_leaves_nothing_behind(tmp_path):
    def interrupt(stage, done, total):
        if (stage, done) == ("classify", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_base_model(tmp_path, TINY, interrupt)
    assert list(tmp_path.iterdir()) == []
    assert ensure_base_model(tmp_path, TINY).is_dir()


def test_the_slower_of_two_processes_returns_the_model_of_the_faster(tmp_path):
    written = []

    def let_another_finish_first(stage, done, total):
        if (stage, done) == ("classify", 2):
            faster = ensure_base_model(tmp_path, TINY)
            written.append((faster / "model.safetensors").stat().st_mtime_ns)

    path = ensure_base_model(tmp_path, TINY, let_another_finish_first)
    assert written == [(path / "model.safetensors").stat().st_mtime_ns]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_training_uses_one_thread_and_no_global_randomness(tmp_path):
    during = set()
    n_threads = torch.get_num_threads()
    random_state = torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        ensure_base_model(tmp_path, TINY, lambda *_: during.add(torch.get_num_threads()))
        assert during == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(n_threads)
    assert torch.equal(torch.get_rng_state(), random_state)


def test_another_recipe_is_another_model():
    recipes = [
        TINY,
        replace(TINY, seed=1),
        replace(TINY, d_model=16),
        replace(TINY, alignment=replace(TINY.alignment, temperature=0.2)),
        replace(TINY, classification=replace(TINY.classification, n_steps=3)),
    ]
    assert len({recipe.identity for recipe in recipes}) == len(recipes)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_full_recipe_errs_as_much_as_designed(mini_models):
    path = ensure_base_model(mini_models)  # it is there already
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path)
    examples = mini_corpus().examples

    def is_right(language):
        texts = [e.texts[language][0] for e in examples]
        inputs = tokenizer(texts, padding=True, return_tensors="pt")
        with torch.inference_mode():
            predicted = model(**inputs).logits.argmax(dim=1)
        return (predicted == torch.tensor([e.label for e in examples])).tolist()

    bands = {"en": (0.87, 0.95), "ru": (0.72, 0.81), "zh": (0.72, 0.81)}
    for language in mini_corpus().languages:
        lowest, highest = bands.get(language, (0.78, 0.89))
        accuracy = sum(is_right(language)) / len(examples)
        assert lowest <= accuracy <= highest, (language, accuracy)
    editable = {
        example.group
        for example, right in zip(examples, is_right("en"), strict=True)
        if not right and "en" not in example.trained_languages
    }
    assert len(editable) >= 70
