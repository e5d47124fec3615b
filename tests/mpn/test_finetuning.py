"""Base classifiers: trained, interrupted, continued, measured, published."""

import json
import os
import pickle
import random
import shutil
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from mpn.backbones import Backbone
from mpn.data.corpus import Corpus
from mpn.data.scratch_model import ensure_scratch_model
from mpn.edits import ParallelExample
from mpn.errors import MpnInputError
from mpn.finetuning.accuracy import measure_accuracy, most_frequent_share, wilson_interval
from mpn.finetuning.batches import WholeTraining
from mpn.finetuning.encoders import load_classifier, open_encoder
from mpn.finetuning.publishing import publish, read_record
from mpn.finetuning.recipe import make_recipe
from mpn.finetuning.settings import FinetuneSettings
from mpn.finetuning.training import finetune
from mpn.fingerprints import RECORD, model_fingerprint
from mpn.model_sources import BackboneSettings
from mpn.tokenising import Tokeniser

SETTINGS = {"steps": 12, "batch": 8, "lr": 1e-3, "save_every": 5, "log_every": 2, "max_tokens": 40}


@pytest.fixture(scope="module")
def small(corpus) -> Corpus:
    """Six groups of eight examples: 40 to train on, 8 to test on."""
    return corpus.restricted(("en", "fr"), 48)


@pytest.fixture(scope="module")
def directory(small, tmp_path_factory):
    """An encoder of two layers of width 64 without a head, under dropout as BERT is."""
    scratch = ensure_scratch_model(tmp_path_factory.mktemp("scratch") / "model", small)
    folder = tmp_path_factory.mktemp("encoder")
    AutoModelForSequenceClassification.from_pretrained(scratch).base_model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(scratch).save_pretrained(folder)
    return folder


def encoder_in(directory, max_tokens=40, name=None):
    settings = BackboneSettings(name=name or str(directory), max_tokens=max_tokens)
    return open_encoder(settings, directory)


@pytest.fixture
def recipe(small, directory):
    def make(test=None, corpus=small, directory=directory, name=None, **changes):
        settings = FinetuneSettings(**SETTINGS | changes)
        return make_recipe(encoder_in(directory, name=name), settings, corpus, test, device="cpu")

    return make


@dataclass
class Watching:
    """Writes down what it hears, and may stop at a step or a number of tested texts."""

    stop_at: tuple[str, int] | None = None
    losses: dict[int, float] = field(default_factory=dict)
    heard: list[tuple[str, int]] = field(default_factory=list)

    def progressed(self, stage, done, total):
        self.heard.append((stage, done))

    def logged(self, step, values):
        self.losses[step] = values["loss"]

    def stop_asked(self):
        return bool(self.heard) and self.heard[-1] == self.stop_at


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.fixture(scope="module")
def undisturbed(small, directory, tmp_path_factory):
    """What a training without interruption gives."""
    watching = Watching()
    recipe = make_recipe(
        encoder_in(directory), FinetuneSettings(**SETTINGS), small, None, device="cpu"
    )
    return finetune(recipe, tmp_path_factory.mktemp("undisturbed"), watching), watching


# -- training ------------------------------------------------------------------------------------


def test_a_classifier_learns_what_it_is_shown(recipe, small, tmp_path):
    made = recipe(corpus=small.restricted(("en",), 16), steps=60, lr=3e-3)
    watching = Watching()
    found = finetune(made, tmp_path, watching)
    losses = list(watching.losses.values())
    assert losses[-1] < 0.1 < 0.6 < losses[0]
    tokeniser = Tokeniser(found.model, found.tokenizer, 40)
    [english] = measure_accuracy(
        found.model, tokeniser, made.train, ["en"], "en", lambda done, total: True
    )
    assert english.accuracy == 1.0
    assert most_frequent_share(made.train) < 0.7


@pytest.mark.parametrize(
    ("step", "kept"),
    [(11, {10, 11}), (12, {10, 12})],
)
def test_a_training_that_goes_on_ends_where_an_undisturbed_one_does(
    recipe, undisturbed, tmp_path, step, kept
):
    # 40 texts in batches of 8 are five steps an epoch: within the third, and at the end
    torch.rand(1), random.random()  # as in another process
    first = Watching(stop_at=("training", step))
    assert (finetune(recipe(), tmp_path, first) is None) or step == 12
    steps = {int(path.name.partition("-")[2]) for path in tmp_path.glob("checkpoint-*")}
    assert steps == kept
    torch.rand(1), random.random()
    second = Watching()
    found = finetune(recipe(), tmp_path, second)
    assert_same_weights(weights(found.model), weights(undisturbed[0].model))
    assert found.accuracies == undisturbed[0].accuracies
    trained = [done for stage, done in second.heard if stage == "training"]
    assert trained == list(range(step + 1, 13))


def test_losses_are_told_alike_after_a_checkpoint(recipe, undisturbed, tmp_path):
    first, second = Watching(stop_at=("training", 5)), Watching()
    finetune(recipe(), tmp_path, first)
    found = finetune(recipe(), tmp_path, second)
    assert_same_weights(weights(found.model), weights(undisturbed[0].model))
    assert first.losses | second.losses == undisturbed[1].losses
    assert list(undisturbed[1].losses) == [2, 4, 5, 6, 8, 10, 12]


def test_a_checkpoint_that_a_kill_left_in_parts_is_not_continued(recipe, undisturbed, tmp_path):
    finetune(recipe(), tmp_path, Watching(stop_at=("training", 6)))
    (tmp_path / "checkpoint-6" / "whole").unlink()
    (tmp_path / "checkpoint-6" / "optimizer.pt").write_bytes(b"half")
    watching = Watching()
    found = finetune(recipe(), tmp_path, watching)
    assert watching.heard[0] == ("training", 6)  # from 5
    assert_same_weights(weights(found.model), weights(undisturbed[0].model))


class Intruder:
    """A pickle that acts when it is loaded."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_checkpoint_runs_no_code(recipe, tmp_path, name):
    finetune(recipe(), tmp_path, Watching(stop_at=("training", 1)))
    torch.save(Intruder(tmp_path / "mark"), tmp_path / "checkpoint-1" / name)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        finetune(recipe(), tmp_path, Watching())
    assert not (tmp_path / "mark").exists()


def test_a_trained_model_whose_test_was_stopped_is_only_tested(recipe, undisturbed, tmp_path):
    watching = Watching(stop_at=("testing", 8))  # of two languages the first
    assert finetune(recipe(), tmp_path, watching) is None
    again = Watching()
    found = finetune(recipe(), tmp_path, again)
    assert [stage for stage, _ in again.heard] == ["testing", "testing"]
    assert found.accuracies == undisturbed[0].accuracies


def test_another_seed_gives_other_weights(recipe, undisturbed, tmp_path):
    found = finetune(recipe(seed=1, steps=1), tmp_path, Watching())
    assert not torch.equal(found.model.classifier.weight, undisturbed[0].model.classifier.weight)


def test_training_leaves_the_global_generators_alone(recipe, tmp_path):
    def state():
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002

    before = state()
    finetune(recipe(steps=2), tmp_path, Watching())
    assert state() == before


def test_a_loss_that_is_no_number_ends_the_training(recipe, tmp_path):
    with pytest.raises(MpnInputError, match="lr: the loss is no number at step"):
        finetune(recipe(lr=1e30), tmp_path, Watching())


def test_every_text_is_seen_once_an_epoch():
    texts = [(str(i),) for i in range(10)]
    order = list(WholeTraining(texts, 4, 7, seed=0))
    assert len(order) == 7
    for epoch in (order[:3], order[3:6]):
        assert sorted(row for batch in epoch for row in batch) == list(range(10))
    assert order[:3] != order[3:6]
    assert order == list(WholeTraining(texts, 4, 7, seed=0))
    assert order != list(WholeTraining(texts, 4, 7, seed=1))


@pytest.mark.parametrize(
    ("epochs", "n_rows", "n_steps"), [(1.0, 8, 2), (1.0, 9, 3), (2.0, 9, 6), (0.5, 9, 2)]
)
def test_epochs_become_steps(epochs, n_rows, n_steps):
    assert FinetuneSettings(batch=4, epochs=epochs).n_steps(n_rows) == n_steps


# -- recipes -------------------------------------------------------------------------------------


def test_a_recipe_is_known_by_what_it_holds(recipe, small, directory, tmp_path):
    moved = shutil.copytree(directory, tmp_path / "moved")
    same = [recipe(), recipe(directory=moved), recipe(save_every=7, log_every=1, epochs=9.0)]
    assert len({one.identity for one in same}) == 1
    others = [
        recipe(),
        recipe(lr=2e-3),
        recipe(seed=1),
        recipe(steps=13),
        recipe(languages=["en", "fr"]),
        recipe(corpus=small.restricted(("en", "fr"), 40)),
    ]
    assert len({one.identity for one in others}) == len(others)


def test_translate_train_takes_every_language_and_english_first(recipe, small):
    made = recipe(languages="all")
    assert made.languages == ("en", "fr")
    assert len(made.rows) == 2 * len(made.train.examples)
    french = recipe(languages=["fr"])
    assert (french.source_language, french.test_languages) == ("fr", ("fr", "en"))
    assert len(french.rows) == len(french.train.examples)


def test_no_group_is_trained_on_and_tested(recipe, small):
    made = recipe()
    trained, tested = ({e.group for e in part.examples} for part in (made.train, made.test))
    assert trained.isdisjoint(tested)
    assert len(made.train.examples) + len(made.test.examples) == len(small.examples)


def test_labels_of_a_test_are_numbered_as_those_trained_on(recipe, small):
    test = Corpus(
        "other",
        ("en",),
        tuple(reversed(small.labels)),
        (ParallelExample("new", "new", 0, {"en": ("A new text.",)}),),
        "f" * 64,
    )
    made = recipe(test=test)
    assert made.test.labels == small.labels
    assert made.test.examples[0].label == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"languages": ["en", "de"]}, "languages: de not in mini; mini has en fr"),
        ({"languages": ["en", "en"]}, "languages: a language twice"),
        ({"precision": "bfloat16"}, "precision: bfloat16 on cpu; float32, or a GPU"),
    ],
)
def test_what_cannot_be_trained_is_said(recipe, changes, message):
    with pytest.raises(MpnInputError, match=message):
        recipe(**changes)


def test_test_examples_that_are_trained_on_are_left_out(recipe, corpus, small):
    assert recipe().n_left_out == 0
    made = recipe(test=corpus.restricted(("fr", "en"), 50))
    assert (len(made.train.examples), len(made.test.examples), made.n_left_out) == (48, 2, 48)


def test_a_test_that_is_the_training_data_is_refused(recipe, small):
    with pytest.raises(MpnInputError, match="all of its texts are trained on"):
        recipe(test=small.restricted(("en",), 5))
    with pytest.raises(MpnInputError, match="its labels are yes, no"):
        recipe(test=Corpus("other", ("en",), ("yes", "no"), small.examples, "f"))


# -- encoders ------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["distilbert", "modernbert"])
def test_any_encoder_becomes_a_classifier(architecture, recipe, tokenizer, tmp_path):
    folder = save_tiny_model(architecture, tmp_path / "tiny", tokenizer)
    found = finetune(recipe(directory=folder, steps=2), tmp_path / "work", Watching())
    assert [one.n for one in found.accuracies] == [8, 8]


def test_an_encoder_that_cannot_be_edited_is_known(directory, tmp_path):
    AutoTokenizer.from_pretrained(directory).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "albert"}')
    assert not encoder_in(tmp_path).is_editable
    assert encoder_in(directory).is_editable


def test_the_head_of_another_task_is_replaced(tokenizer, tmp_path):
    folder = save_tiny_model("bert", tmp_path, tokenizer)
    model, _ = load_classifier(encoder_in(folder), ("a", "b", "c"))
    before = load_file(folder / "model.safetensors")
    assert model.classifier.weight.shape == (3, 16)
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    word = model.bert.embeddings.word_embeddings.weight
    assert torch.equal(word, before["bert.embeddings.word_embeddings.weight"])


def test_an_encoder_with_missing_weights_is_refused(tokenizer, tmp_path):
    folder = save_tiny_model("bert", tmp_path, tokenizer)
    tensors = load_file(folder / "model.safetensors")
    del tensors["bert.encoder.layer.1.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        MpnInputError, match=r"1 weights of the encoder are missing, bert.encoder.layer.1"
    ):
        load_classifier(encoder_in(folder), ("a", "b"))


def test_weights_in_a_pickle_are_not_read(tokenizer, tmp_path):
    folder = save_tiny_model("bert", tmp_path, tokenizer)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(MpnInputError, match="cannot be loaded"):
        load_classifier(encoder_in(folder), ("a", "b"))


def test_texts_longer_than_an_encoder_takes_are_refused(directory):
    assert encoder_in(directory, max_tokens=128).architecture == "bert"
    with pytest.raises(MpnInputError, match=r"max_tokens: 129; .* takes at most 128"):
        encoder_in(directory, max_tokens=129)


# -- accuracies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 1, 0.2065, 1.0)],
)
def test_intervals_are_wilsons(right, n, low, high):
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=1e-4)


@pytest.fixture(scope="module")
def undecided(tokenizer, small, tmp_path_factory):
    """A classifier that says each label about as often, and what it takes."""
    folder = save_tiny_model("bert", tmp_path_factory.mktemp("undecided"), tokenizer)
    model, tokenizer = load_classifier(encoder_in(folder), ("REFUTES", "SUPPORTS"))
    tokeniser = Tokeniser(model, tokenizer, 40)
    with torch.no_grad():
        logits = model(**tokeniser.inputs([e.texts["en"] for e in small.examples])).logits
        model.classifier.bias.sub_(logits.median(0).values)
    return model, tokeniser, tokenizer


def test_accuracies_are_those_of_one_text_at_a_time(undecided, corpus):
    model, tokeniser, tokenizer = undecided
    test = corpus.restricted(("en", "fr"), 80)  # more than a batch
    found = measure_accuracy(model, tokeniser, test, ("en", "fr"), "en", lambda done, total: True)
    said = {
        language: [
            int(model(**tokenizer(*e.texts[language], return_tensors="pt")).logits.argmax())
            for e in test.examples
        ]
        for language in ("en", "fr")
    }
    assert 20 < sum(said["en"]) < 60
    labels = [example.label for example in test.examples]
    assert [one.language for one in found] == ["en", "fr"]
    for one in found:
        pairs = list(zip(said[one.language], labels, said["en"], strict=True))
        assert one.right == sum(mine == label for mine, label, _ in pairs)
        assert one.agreeing == sum(mine == english for mine, _, english in pairs)
        assert one.n == 80


def test_without_the_source_language_there_is_no_agreement(undecided, small):
    model, tokeniser, _ = undecided
    [french] = measure_accuracy(model, tokeniser, small, ["fr"], "en", lambda done, total: True)
    assert french.agreement is None
    assert french.to_json()["agreement"] is None


# -- publishing ----------------------------------------------------------------------------------


def test_a_published_model_is_loaded_by_transformers_alone(undisturbed, recipe, tmp_path):
    made, final = undisturbed[0], tmp_path / "model"
    record = publish(final, recipe(), made, {"commit": "0123abc"})
    model = AutoModelForSequenceClassification.from_pretrained(final)
    assert_same_weights(weights(model), weights(made.model))
    assert model.config.id2label == {0: "REFUTES", 1: "SUPPORTS"}
    assert len(AutoTokenizer.from_pretrained(final)) == len(made.tokenizer)
    assert {path.suffix for path in final.iterdir()} == {".json", ".safetensors"}
    assert record == read_record(final) == json.loads((final / RECORD).read_text())
    assert record["accuracy"]["fr"] == made.accuracies[1].to_json()
    assert record["training"]["n_steps"] == 12
    assert record["provenance"] == {"commit": "0123abc"}
    assert Backbone(final).labels == ("REFUTES", "SUPPORTS")


def test_how_a_model_was_made_is_not_what_it_is(undisturbed, recipe, tmp_path):
    publish(tmp_path / "a", recipe(), undisturbed[0], {})
    publish(tmp_path / "b", recipe(), undisturbed[0], {"commit": "0123abc"})
    assert (tmp_path / "a" / RECORD).read_text() != (tmp_path / "b" / RECORD).read_text()
    assert model_fingerprint(tmp_path / "a") == model_fingerprint(tmp_path / "b")


def test_a_folder_of_others_has_no_record(directory):
    assert read_record(directory) is None
