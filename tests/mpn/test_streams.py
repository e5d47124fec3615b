"""Streams: what they measure, and that they go on from any state to the same values."""

import pytest
import torch
from tiny_models import save_tiny_model

from mpn.backbones import Backbone
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.settings import (
    MemorySettings,
    StopSettings,
    TransformerPatcherSettings,
)
from mpn.editors.transformer_patcher import TransformerPatcher
from mpn.errors import MpnInputError
from mpn.pairing import PairingSettings
from mpn.streams import EditStream, StreamState
from mpn.workbench import Workbench

N_EDITS = 5
EDITOR = TransformerPatcherSettings(
    memory=MemorySettings(weight=1e-3, size=40),
    optimizer=OptimizerSettings(lr=0.1, max_steps=25),
    stop=StopSettings(when="never"),
    value_init="zero",
)


@pytest.fixture(scope="module")
def bench(tokenizer, corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    model = save_tiny_model("xlm-roberta", folder / "model", tokenizer)
    return Workbench(
        Backbone(model, dtype=torch.float64),
        corpus,
        source_language="en",
        seed=0,
        evaluation_examples=4,
        neighbours=2,
        cache=folder / "queries",
    )


def stream_of(bench, *, layer="last", engine="cached", pairing=None, number=0):
    pairing = pairing or PairingSettings(languages=2)
    opened = bench.engine(layer, "all", engine)
    data = bench.stream_data(number, N_EDITS, pairing, seed=0, n_remembered=40)
    memory = bench.memory(opened, 40, 0.1)
    return EditStream(
        opened, TransformerPatcher(EDITOR, pairing), memory, data, seed=0, stream=number
    )


def values_of(progress):
    return [value for step in progress for value in step.values]


@pytest.mark.parametrize("protocol", ["single", "sequential"])
def test_a_stream_goes_on_from_any_state_to_the_same_values(bench, protocol):
    steps = list(stream_of(bench).run(protocol, batch_size=2))
    for i, step in enumerate(steps[:-1]):
        state = StreamState.from_bytes(step.state.to_bytes())
        rest = list(stream_of(bench).run(protocol, batch_size=2, state=state))
        assert values_of(rest) == values_of(steps[i + 1 :])
        assert rest[-1].state.to_bytes() == steps[-1].state.to_bytes()


def test_the_slow_path_measures_the_same(bench):
    for protocol in ("single", "sequential"):
        fast, slow = (
            values_of(stream_of(bench, engine=name).run(protocol, batch_size=2))
            for name in ("cached", "full")
        )
        assert fast == slow


def test_every_edit_is_measured_in_every_language(bench):
    values = values_of(stream_of(bench).run("single", batch_size=2))
    for position in range(N_EDITS):
        here = [v for v in values if v.position == position]
        languages = {v.language for v in here if v.metric == "cross_lingual_generality"}
        assert languages == {"de", "es", "fr", "ru", "zh"}
        local = {v.language: v.n for v in here if v.metric == "locality"}
        assert local == dict.fromkeys(bench.languages, 4)
    assert {v.value for v in values if v.metric == "edited"} == {1.0}


def test_single_edits_have_no_retention_and_sequential_ones_have(bench):
    single = {v.metric for v in values_of(stream_of(bench).run("single", batch_size=2))}
    sequential = values_of(stream_of(bench).run("sequential", batch_size=2))
    kinds = {"edit_retention", "cross_lingual_retention", "test_retention", "train_retention"}
    assert not kinds & single
    assert kinds <= {v.metric for v in sequential}
    so_far = [v.n for v in sequential if v.metric == "edit_retention_so_far"]
    assert so_far == [1, 2, 3, 4, 5]


def test_a_sequential_edit_that_is_right_already_is_not_made(bench):
    values = values_of(stream_of(bench).run("sequential", batch_size=1))
    edited = {v.position: v.value for v in values if v.metric == "edited"}
    steps = {v.position for v in values if v.metric == "steps"}
    assert edited[0] == 1.0
    assert steps == {position for position, was in edited.items() if was == 1.0}


def test_the_model_of_a_sequential_stream_is_its_state(bench):
    """The last state, put into the full model, gives the retention that was measured."""
    stream = stream_of(bench)
    steps = list(stream.run("sequential", batch_size=1))
    full = bench.engine("last", "all", "full")
    data = bench.stream_data(0, N_EDITS, PairingSettings(languages=2), seed=0, n_remembered=40)
    rows = full.absorb(
        full.load([edit.request("en").text for edit in data.edits]), steps[-1].state.patches
    )
    kept = [
        p == e.label for p, e in zip(full.predictions(rows)[0].tolist(), data.edits, strict=True)
    ]
    measured = next(v for v in values_of(steps) if v.metric == "edit_retention")
    assert measured.value == sum(kept) / N_EDITS


def test_batches_of_edits_change_no_decision(bench):
    together = values_of(stream_of(bench).run("single", batch_size=5))
    alone = values_of(stream_of(bench).run("single", batch_size=1))
    assert together == alone


def test_memory_and_evaluation_never_speak_of_an_edited_fact(bench, corpus):
    data = bench.stream_data(0, N_EDITS, PairingSettings(), seed=0, n_remembered=500)
    edited = {edit.example.group for edit in data.edits}
    forbidden = {
        text
        for example in corpus.examples
        if example.group in edited
        for text in example.texts.values()
    }
    assert not forbidden & set(data.evaluation.texts)
    assert not forbidden & set(data.remembered.texts)
    assert not forbidden & {t for near in data.neighbours for e in near for t in e.texts.values()}


def test_the_memory_is_of_texts_that_the_model_was_trained_on(bench, corpus):
    trained = {e.texts[language] for e in corpus.examples for language in e.trained_languages}
    assert set(bench.remembered(200).texts) <= trained


def test_edits_are_mistakes_of_the_base_model(bench):
    data = bench.stream_data(0, N_EDITS, PairingSettings(), seed=0, n_remembered=4)
    logits = bench.backbone.logits([edit.request("en").text for edit in data.edits])
    wrong = logits.argmax(-1) != torch.tensor([edit.label for edit in data.edits])
    assert wrong.all()


def test_a_language_that_the_corpus_lacks_is_refused(bench, corpus, tmp_path):
    with pytest.raises(MpnInputError, match="sw is not in mini; it has en fr"):
        Workbench(
            bench.backbone,
            corpus,
            source_language="sw",
            seed=0,
            evaluation_examples=1,
            neighbours=0,
            cache=tmp_path,
        )


def test_a_model_with_other_labels_is_refused(bench, corpus, tmp_path, tokenizer):
    model = save_tiny_model(
        "bert", tmp_path / "model", tokenizer, id2label={0: "no", 1: "yes"}, label2id={}
    )
    with pytest.raises(MpnInputError, match="labels are no, yes; those of mini are REFUTES, SUP"):
        Workbench(
            Backbone(model),
            corpus,
            source_language="en",
            seed=0,
            evaluation_examples=1,
            neighbours=0,
            cache=tmp_path,
        )


def test_past_edits_enter_the_memory_in_the_languages_they_were_trained_in(bench):
    """So that later edits leave them alone; other languages stay unseen."""
    sizes = []

    class Spy(TransformerPatcher):
        def edit(self, engine, batch, memory):
            sizes.append(memory.size)
            return super().edit(engine, batch, memory)

    pairing = PairingSettings(languages=2, redraw="per_edit")
    opened = bench.engine("last", "all", "cached")
    data = bench.stream_data(0, N_EDITS, pairing, seed=0, n_remembered=40)
    assert {len(seen) for seen in data.seen} == {2}
    memory = bench.memory(opened, 40, 0.1)
    too_short = EDITOR.model_copy(update={"optimizer": OptimizerSettings(lr=1e-9, max_steps=1)})
    stream = EditStream(opened, Spy(too_short, pairing), memory, data, seed=0, stream=0)
    list(stream.run("sequential", batch_size=1))
    grown = [size - memory.size for size in sizes]
    assert grown == [0, 3, 6, 9, 12]  # the source and two languages for each past edit
