"""One edit by hand: whom it is trained on, what it changes, what it must not be told of."""

from dataclasses import replace

import pytest
import torch
from tiny_models import random_patches, save_tiny_model

from mpn.backbones import Backbone
from mpn.by_hand import edit_by_hand, side_effects, without
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.settings import StopSettings, TransformerPatcherSettings
from mpn.edits import ParallelEdit, ParallelExample
from mpn.engines.opening import open_engine
from mpn.memory import MemoryBank
from mpn.metrics.audience import Panel
from mpn.queries import QueryCache

EDITOR = TransformerPatcherSettings(
    memory=None,
    optimizer=OptimizerSettings(lr=0.05, weight_decay=0.0, max_steps=60, plateau=None),
    stop=StopSettings(when="never"),
    value_init="zero",
    dropout=None,
)


@pytest.fixture(scope="module")
def engine(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("by-hand")
    backbone = Backbone(save_tiny_model("xlm-roberta", folder / "m", tokenizer))
    return open_engine("cached", backbone, layer=2, cache=QueryCache(folder / "q"))


def wish_of(corpus, engine, place=0):
    """An example, to the label that the model does not give in the source language."""
    example = corpus.examples[place]
    said = int(engine.predictions(engine.load([example.texts["en"]]))[0, 0])
    return ParallelEdit(example.example_id, 1 - said, "en", example)


def test_only_the_paired_languages_are_trained_on(corpus, engine):
    wish = wish_of(corpus, engine)
    memory = MemoryBank.none(16)
    alone, paired, the_same, one = (
        edit_by_hand(engine, wish, languages, memory, EDITOR)
        for languages in ([], ["ru", "zh"], ["zh", "ru"], ["ru"])
    )
    assert [a.role for a in alone.answers] == ["source", *["unseen"] * 5]
    roles = {a.language: a.role for a in paired.answers}
    assert roles == dict.fromkeys(corpus.languages, "unseen") | {
        "en": "source",
        "ru": "paired",
        "zh": "paired",
    }
    for other in (alone, one):
        assert not torch.allclose(other.patches.keys, paired.patches.keys)
    torch.testing.assert_close(the_same.patches.keys, paired.patches.keys)
    for answer in paired.answers:
        logits = engine.logits(engine.load([answer.text]))[0, 0]
        torch.testing.assert_close(torch.tensor(answer.before), logits.softmax(-1))


def test_side_effects_are_the_labels_that_changed(corpus, engine):
    pairs = [(e, language) for e in corpus.examples[:300:10] for language in ("en", "ru")]
    panel = Panel.of(pairs)
    patches = random_patches(1, 3, 16, dtype=torch.float32)
    rows = engine.load(panel.texts)
    before, after = engine.predictions(rows)[0], engine.predictions(rows, patches)[0]
    changed = [i for i in range(len(pairs)) if before[i] != after[i]]
    assert 0 < len(changed) < len(pairs)
    effects = side_effects(engine, panel, patches[0])
    assert effects.n_texts == {"en": 30, "ru": 30}
    assert [change.text for change in effects.changes] == [panel.texts[i] for i in changed]
    assert [change.language for change in effects.changes] == [panel.languages[i] for i in changed]
    assert [(c.before, c.after) for c in effects.changes] == [
        (int(before[i]), int(after[i])) for i in changed
    ]


def test_memory_and_held_out_texts_are_never_about_the_edit(corpus):
    example = corpus.examples[5]
    left = without(corpus, ParallelEdit("id", 0, "en", example))
    groups = {e.group for e in left.examples}
    assert groups == {e.group for e in corpus.examples} - {example.group}
    same_words = ParallelExample("by hand", "by hand", 0, {"xx": example.texts["ru"]})
    left = without(corpus, ParallelEdit("id", 0, "xx", same_words))
    gone = {e.example_id for e in corpus.examples} - {e.example_id for e in left.examples}
    assert example.example_id in gone
    assert all(
        example.texts["ru"] in e.texts.values() for e in corpus.examples if e.example_id in gone
    )
    assert left.fingerprint != corpus.fingerprint
    assert replace(left, examples=corpus.examples, fingerprint=corpus.fingerprint) == corpus
