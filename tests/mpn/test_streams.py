"""Streams: what they measure, and that they go on from any state to the same values."""

import gc
import weakref

import pytest
import torch
from tiny_models import save_tiny_model

from mpn.backbones import Backbone
from mpn.editors.descent import schedule
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.settings import (
    MemorySettings,
    StopSettings,
    TransformerPatcherSettings,
)
from mpn.editors.transformer_patcher import TransformerPatcher
from mpn.errors import MpnInputError
from mpn.memory import MemoryBank
from mpn.pairing import PairingSettings
from mpn.queries import QueryCache
from mpn.streams.edit_streams import EditStreams
from mpn.streams.state import StreamsState
from mpn.workbench import Workbench

N_EDITS = 5
EDITOR = TransformerPatcherSettings(
    memory=MemorySettings(weight=1e-3, size=40),
    optimizer=OptimizerSettings(lr=0.1, max_steps=25),
    stop=StopSettings(when="never"),
    value_init="zero",
    dropout=None,
)


def streams_of(bench, *, layer="last", engine="cached", numbers=(0,), editor=EDITOR):
    pairing = PairingSettings(languages=2)
    opened = bench.engine(layer, "all", engine)
    data = [bench.stream_data(opened, number, N_EDITS, pairing, seed=0) for number in numbers]
    memory = bench.memory(opened, editor.remembers)
    return EditStreams(opened, TransformerPatcher(editor, pairing), memory, data, seed=0)


def data_of(bench):
    engine = bench.engine("last", "all", "cached")
    return bench.stream_data(engine, 0, N_EDITS, PairingSettings(), seed=0)


def values_of(progress, number=0):
    return [value for step in progress for value in step.values[number]]


def neurons_of(state, stream):
    """Return a stream's own neurons; those that fill up for the others' are zero."""
    patches = state.change[stream]
    own = patches.keys.any(-1)
    return [tensor[own] for tensor in patches.tensors()]


@pytest.mark.parametrize("protocol", ["single", "sequential"])
def test_streams_go_on_from_any_state_to_the_same_values(bench, protocol):
    numbers = (0, 2)
    steps = list(streams_of(bench, numbers=numbers).run(protocol, batch_size=4))
    assert steps[-1].done == 2 * N_EDITS
    for i, step in enumerate(steps[:-1]):
        state = StreamsState.from_bytes(step.state.to_bytes())
        rest = list(streams_of(bench, numbers=numbers).run(protocol, batch_size=4, state=state))
        for number in numbers:
            assert values_of(rest, number) == values_of(steps[i + 1 :], number)
        assert rest[-1].state.to_bytes() == steps[-1].state.to_bytes()


@pytest.mark.parametrize("layer", ["last", 1])
@pytest.mark.parametrize("protocol", ["single", "sequential"])
def test_the_slow_path_measures_the_same(bench, protocol, layer):
    fast, slow = (
        values_of(streams_of(bench, engine=name, layer=layer).run(protocol, batch_size=2))
        for name in ("cached", "full")
    )
    assert fast == slow


@pytest.mark.parametrize("layer", ["last", 1])
@pytest.mark.parametrize("protocol", ["single", "sequential"])
def test_streams_side_by_side_are_the_streams_alone(bench, protocol, layer):
    """Every decision is the same; and the neurons are, up to rounding."""
    together = list(streams_of(bench, numbers=(0, 1, 2), layer=layer).run(protocol, batch_size=7))
    for i, number in enumerate((0, 1, 2)):
        alone = list(streams_of(bench, numbers=(number,), layer=layer).run(protocol, batch_size=3))
        assert values_of(together, number) == values_of(alone, number)
        if protocol == "sequential":
            mine, own = together[-1].state, alone[-1].state
            assert torch.equal(mine.edited[i], own.edited[0])
            for a, b in zip(neurons_of(mine, i), neurons_of(own, 0), strict=True):
                torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)


def test_every_edit_is_measured_in_every_language(bench):
    values = values_of(streams_of(bench).run("single", batch_size=2))
    for position in range(N_EDITS):
        here = [v for v in values if v.position == position]
        languages = {v.language for v in here if v.metric == "cross_lingual_generality"}
        assert languages == {"de", "es", "fr", "ru", "zh"}
        local = {v.language: v.n for v in here if v.metric == "locality"}
        assert local == dict.fromkeys(bench.languages, 4)
    assert {v.value for v in values if v.metric == "edited"} == {1.0}


def test_single_edits_have_no_retention_and_sequential_ones_have(bench):
    single = {v.metric for v in values_of(streams_of(bench).run("single", batch_size=2))}
    sequential = values_of(streams_of(bench).run("sequential", batch_size=2))
    kinds = {"edit_retention", "cross_lingual_retention", "test_retention", "train_retention"}
    assert not kinds & single
    assert kinds <= {v.metric for v in sequential}
    so_far = [v.n for v in sequential if v.metric == "edit_retention_so_far"]
    assert so_far == [1, 2, 3, 4, 5]


def test_a_sequential_edit_that_is_right_already_is_not_made(bench):
    values = values_of(streams_of(bench).run("sequential", batch_size=1))
    edited = {v.position: v.value for v in values if v.metric == "edited"}
    steps = {v.position for v in values if v.metric == "steps"}
    assert edited[0] == 1.0
    assert steps == {position for position, was in edited.items() if was == 1.0}


def test_the_model_of_a_sequential_stream_is_its_state(bench):
    """The last state, put into the full model, gives the retention that was measured."""
    steps = list(streams_of(bench).run("sequential", batch_size=1))
    full = bench.engine("last", "all", "full")
    data = bench.stream_data(full, 0, N_EDITS, PairingSettings(languages=2), seed=0)
    patches = steps[-1].state.change
    rows = full.absorb(full.load([edit.request("en").text for edit in data.edits]), patches)
    kept = [
        p == e.label for p, e in zip(full.predictions(rows)[0].tolist(), data.edits, strict=True)
    ]
    measured = next(v for v in values_of(steps) if v.metric == "edit_retention")
    assert measured.value == sum(kept) / N_EDITS


def test_batches_of_edits_change_no_decision(bench):
    together = values_of(streams_of(bench).run("single", batch_size=5))
    alone = values_of(streams_of(bench).run("single", batch_size=1))
    assert together == alone


def test_memory_and_evaluation_never_speak_of_an_edited_fact(bench, corpus):
    data = data_of(bench)
    edited = {edit.example.group for edit in data.edits}
    forbidden = {
        text
        for example in corpus.examples
        if example.group in edited
        for text in example.texts.values()
    }
    assert not forbidden & set(data.evaluation.texts)
    assert not forbidden & set(data.remembered.texts)
    assert not forbidden & set(bench.remembered(500).texts)
    assert not forbidden & {t for near in data.neighbours for e in near for t in e.texts.values()}


def test_the_memory_is_of_texts_that_the_model_was_trained_on(bench, corpus):
    trained = {e.texts[language] for e in corpus.examples for language in e.trained_languages}
    assert set(bench.remembered(200).texts) <= trained


def test_edits_are_mistakes_of_the_base_model(bench):
    data = data_of(bench)
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
            cache=QueryCache(tmp_path),
        )


def test_a_model_with_other_labels_is_refused(bench, corpus, tmp_path, tokenizer):
    model = save_tiny_model(
        "bert", tmp_path / "model", tokenizer, id2label={0: "no", 1: "yes"}, label2id={}
    )
    with pytest.raises(
        MpnInputError,
        match=r"no, yes, those of mini REFUTES, SUPPORTS; .* backbone\.labels: \[REFUTES, SUPP",
    ):
        Workbench(
            Backbone(model),
            corpus,
            source_language="en",
            seed=0,
            evaluation_examples=1,
            neighbours=0,
            cache=QueryCache(tmp_path),
        )


def test_past_edits_enter_the_memory_in_the_languages_they_were_trained_in(bench):
    """So that later edits leave them alone; other languages stay unseen."""
    sizes = []

    class Spy(TransformerPatcher):
        def edit(self, engine, batch, memory):
            sizes.append(int(memory.counts(1)))
            return super().edit(engine, batch, memory)

    pairing = PairingSettings(languages=2, redraw="per_edit")
    opened = bench.engine("last", "all", "cached")
    data = bench.stream_data(opened, 0, N_EDITS, pairing, seed=0)
    assert {len(seen) for seen in data.seen} == {2}
    memory = bench.memory(opened, EDITOR.remembers)
    too_short = EDITOR.model_copy(update={"optimizer": OptimizerSettings(lr=1e-9, max_steps=1)})
    streams = EditStreams(opened, Spy(too_short, pairing), memory, [data], seed=0)
    list(streams.run("sequential", batch_size=1))
    grown = [size - len(memory.queries) for size in sizes]
    assert grown == [0, 3, 6, 9, 12]  # the source and two languages for each past edit


def test_below_the_last_layer_locality_is_measured_on_a_sample_and_says_so(bench):
    for layer, n in (("last", 4), (1, 3)):
        values = values_of(streams_of(bench, layer=layer).run("single", batch_size=5))
        assert {v.n for v in values if v.metric == "locality"} == {n}
    everything, sample = bench.evaluation.texts, bench.evaluation_sample.texts
    assert sample == everything[: len(sample)]


def test_a_memory_of_all_positions_is_drawn_from_every_token(bench):
    engine = bench.engine(1, "all", "cached")
    cls = bench.memory(engine, MemorySettings(size=30, held_out_share=0.0).remembers).queries
    every = MemorySettings(size=30, held_out_share=0.0, positions="all")
    found = bench.memory(engine, every.remembers).queries
    tokens = engine.token_queries(bench.remembered(30).texts, "all")
    assert len(found) == 30 < len(tokens)
    distances = torch.cdist(found, tokens)
    assert (distances.min(1).values < 1e-6).all()
    assert (torch.cdist(found, cls).min(1).values > 1e-6).sum() > 15  # most are not [CLS]
    full = bench.engine(1, "all", "full")
    torch.testing.assert_close(full.token_queries(bench.remembered(30).texts, "all"), tokens)
    at_cls = bench.engine(1, "cls", "cached")  # neurons that act at [CLS] need no others
    assert torch.equal(
        bench.memory(at_cls, every.remembers).queries.sort(0).values, cls.sort(0).values
    )


def test_streams_of_no_edits_are_refused(bench):
    engine = bench.engine("last", "all", "cached")
    empty = bench.stream_data(engine, 0, 0, PairingSettings(), seed=0)
    with pytest.raises(MpnInputError, match="a stream of no edits"):
        EditStreams(engine, TransformerPatcher(EDITOR, PairingSettings()), None, [empty], seed=0)


def test_a_workbench_that_is_let_go_gives_its_model_back(tokenizer, corpus, tmp_path):
    """A worker that goes on to another model must not keep the old one."""
    backbone = Backbone(save_tiny_model("bert", tmp_path / "model", tokenizer))
    bench = Workbench(
        backbone,
        corpus,
        source_language="en",
        seed=0,
        neighbours=1,
        cache=QueryCache(tmp_path / "queries"),
    )
    data = data_of(bench)
    bench.memory(bench.engine("last", "all", "cached"), EDITOR.remembers)
    model = weakref.ref(backbone.model)
    del backbone, bench, data
    gc.collect()
    assert model() is None


def test_languages_are_weighted_by_how_often_the_base_model_is_wrong_in_them(bench):
    full = bench.engine("last", "all", "full")
    panel = bench.evaluation
    answers = full.predictions(full.load(panel.texts))[0].tolist()
    rows = list(zip(panel.languages, panel.labels, answers, strict=True))
    right = {
        name: [label == answer for language, label, answer in rows if language == name]
        for name in bench.languages
    }
    assert bench.accuracies == {name: sum(hits) / 4 for name, hits in right.items()}
    policy = PairingSettings(languages=1, choice="fixed", weights="inverse_accuracy")
    data = bench.stream_data(full, 0, N_EDITS, policy, seed=0)
    assert data.weights.tolist() == [1 / max(bench.accuracies[data.drawn_from[0]], 0.25)]


def test_weights_reach_the_editor_and_change_what_it_trains_on(bench, monkeypatch):
    monkeypatch.setitem(bench.__dict__, "accuracies", dict.fromkeys(bench.languages, 1.0))
    even = first_batch(bench, "inverse_accuracy")
    bench.accuracies["zh"] = 0.0  # one in four at most: drawn four times as often
    uneven = first_batch(bench, "inverse_accuracy")
    assert even.weights.tolist() == [[1.0] * 5] * N_EDITS
    assert uneven.weights.tolist() == [[1.0, 1.0, 1.0, 1.0, 4.0]] * N_EDITS
    assert first_batch(bench, "uniform").weights is None
    policy = PairingSettings(languages=1, weights="inverse_accuracy")
    zh = bench.languages.index("zh")
    before, after = (
        (schedule(batch, policy, 200)[..., 1] == zh).double().mean().item()
        for batch in (even, uneven)
    )
    assert before == pytest.approx(1 / 5, abs=0.05)
    assert after == pytest.approx(4 / 8, abs=0.05)


def first_batch(bench, weights):
    """Return the first batch that an editor is given."""
    policy = PairingSettings(languages=1, weights=weights)
    engine, batches = bench.engine("last", "all", "cached"), []

    class Watching(TransformerPatcher):
        def edit(self, engine, batch, memory):
            batches.append(batch)
            return super().edit(engine, batch, memory)

    data = [bench.stream_data(engine, 0, N_EDITS, policy, seed=0)]
    editor = Watching(EDITOR.model_copy(update={"memory": None}), policy)
    next(EditStreams(engine, editor, MemoryBank.none(16), data, seed=0).run("single", batch_size=9))
    return batches[0]
