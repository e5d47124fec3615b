"""What every editor keeps to, whatever it changes and however."""

import functools
from typing import get_args

import pytest
import torch

from mpn.editors.calinet import CaliNetSettings
from mpn.editors.finetune import FineTuneSettings
from mpn.editors.hypernetworks.settings import (
    HypernetworkSettings,
    HypernetworkTraining,
    LimeSettings,
    MendSettings,
)
from mpn.editors.hypernetworks.training import train
from mpn.editors.knowledge_neurons import KnowledgeNeuronsSettings
from mpn.editors.margin import MarginSettings
from mpn.editors.opening import EditorSettings, open_editor
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.output_training import DivergenceSettings
from mpn.editors.protocol import EditBatch, EditSeed
from mpn.editors.settings import MemorySettings, TransformerPatcherSettings
from mpn.editors.stopping import StopSettings
from mpn.pairing import PairingSettings
from mpn.streams.edit_streams import EditStreams
from mpn.streams.state import StreamsState

QUICK = {
    "optimizer": OptimizerSettings(lr=0.05, weight_decay=0.0, max_steps=6, plateau=None),
    "stop": StopSettings(when="all", min_steps=2, every=2),
}
DIVERGENCE = DivergenceSettings(size=20, rows=4)
LEARNED = {
    "step": 1.0,
    "hidden": 4,
    "training": HypernetworkTraining(
        optimizer=OptimizerSettings(lr=0.05, weight_decay=0.0, max_steps=3, plateau=None),
        languages="all",
        paired=1,
        examples=12,
        edits=2,
        others=2,
    ),
}
EDITORS = {
    "transformer_patcher": TransformerPatcherSettings(
        **QUICK, memory=MemorySettings(weight=1e-3, size=40), dropout=None
    ),
    "transformer_patcher-middle": TransformerPatcherSettings(
        **QUICK, memory=None, layer=1, dropout=None
    ),
    "transformer_patcher-rows": TransformerPatcherSettings(
        **QUICK,
        memory=MemorySettings(weight=1e-3, size=40),
        patches_for="row",
        retries=[{"patches_per_edit": 2, "patches_for": "row"}],
        divergence=DIVERGENCE,
        dropout=None,
    ),
    "transformer_patcher-margin": TransformerPatcherSettings(
        **QUICK, memory=None, dropout=None, margin=MarginSettings(), patches_per_edit=2
    ),
    "finetune": FineTuneSettings(**QUICK),
    "finetune-middle": FineTuneSettings(**QUICK, layers=[1]),
    "finetune-divergence": FineTuneSettings(**QUICK, divergence=DIVERGENCE),
    "finetune-layers": FineTuneSettings(**QUICK, layers=[1, 2], part="layer"),
    "finetune-model": FineTuneSettings(**QUICK, part="model", divergence=DIVERGENCE),
    "knowledge_neurons": KnowledgeNeuronsSettings(**QUICK, layers="last", steps=3, neurons=5),
    "knowledge_neurons-all": KnowledgeNeuronsSettings(**QUICK, steps=3, attribute="predicted"),
    "calinet": CaliNetSettings(**QUICK, slots=4),
    "calinet-first": CaliNetSettings(**QUICK, slots=4, layer=0, positions="cls"),
    "mend": MendSettings(**LEARNED),
    "mend-middle": MendSettings(**LEARNED, layer=1, rank=3),
    "lime": LimeSettings(**LEARNED),
    "lime-first": LimeSettings(**LEARNED, layer=0, rank=2),
    "lime-unmasked": LimeSettings(**LEARNED, masks=None),
}
PAIRINGS = {
    "alone": PairingSettings(languages=0),
    "random": PairingSettings(languages=2),
    "fixed": PairingSettings(languages=2, choice="fixed", key_init="mean"),
    "once": PairingSettings(languages=1, redraw="per_edit"),
    "all": PairingSettings(languages="all"),
    "far": PairingSettings(languages=1, choice="typological", ratio=[2, 3]),
}
N_EDITS = 3


@pytest.fixture(params=EDITORS)
def settings(request):
    return EDITORS[request.param]


def engine_of(bench, settings, name="cached"):
    reach = settings.reach
    return bench.engine(reach.layer, reach.positions, name, reach.changes)


@functools.cache
def _network(bench, name):
    *_, last = train(bench.lessons(EDITORS[name]))
    return last.finished().network


def network_of(bench, settings):
    """Return what an editor that is trained first has learned; None of the others."""
    if not isinstance(settings, HypernetworkSettings):
        return None
    return _network(bench, next(name for name, one in EDITORS.items() if one == settings))


def edited(bench, settings, pairing="fixed", *, edits=(0, 1, 2), engine="cached", hidden=()):
    """Make edits of a stream side by side; languages that are hidden have other texts."""
    opened = engine_of(bench, settings, engine)
    data = bench.stream_data(opened, 0, N_EDITS, PAIRINGS[pairing], seed=0)
    languages = list(data.languages)
    texts = [
        (f"hidden {edit}",) if name in hidden else data.edits[edit].request(name).text
        for edit in edits
        for name in languages
    ]
    batch = EditBatch(
        opened.regroup(opened.load(texts), len(edits)),
        torch.tensor([[0, *map(languages.index, data.drawn_from)]] * len(edits)),
        torch.tensor([data.edits[edit].label for edit in edits]),
        [EditSeed(0, 0, edit) for edit in edits],
        languages=languages,
    )
    memory = bench.memory(opened, settings.remembers)
    editor = open_editor(settings, PAIRINGS[pairing], network_of(bench, settings))
    outcome = editor.edit(opened, batch, memory)
    return opened, batch, outcome


def assert_same(first, second, tolerance=0.0):
    first, second = first.named(), second.named()
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], atol=tolerance, rtol=tolerance)


def streams_of(bench, settings, pairing="fixed"):
    engine = engine_of(bench, settings)
    policy = PAIRINGS[pairing]
    data = [bench.stream_data(engine, number, N_EDITS, policy, seed=0) for number in (0, 1)]
    memory = bench.memory(engine, settings.remembers)
    editor = open_editor(settings, policy, network_of(bench, settings))
    return EditStreams(engine, editor, memory, data, seed=0)


def values_of(progress):
    return [(number, v) for step in progress for number in (0, 1) for v in step.values[number]]


class TestEditorContract:
    """One test for each promise of :class:`mpn.editors.protocol.Editor`."""

    def test_the_same_edit_twice_is_the_same_to_the_last_bit(self, bench, settings):
        first, second = (edited(bench, settings)[2] for _ in range(2))
        assert_same(first.change, second.change)
        assert first.efforts == second.efforts

    def test_an_edit_in_a_batch_is_the_edit_alone(self, bench, settings):
        together = edited(bench, settings)[2]
        for edit in range(N_EDITS):
            alone = edited(bench, settings, edits=(edit,))[2]
            assert_same(together.change.take(torch.tensor([edit])), alone.change, 1e-9)
            assert together.efforts[edit] == alone.efforts[0]

    def test_cached_queries_give_the_edit_of_the_full_model(self, bench, settings):
        cached, full = (edited(bench, settings, engine=name)[2] for name in ("cached", "full"))
        assert_same(cached.change, full.change, 1e-8)
        assert any(tensor.any() for tensor in cached.change.named().values())

    def test_the_model_is_left_as_it_was(self, bench, settings):
        engine, batch, outcome = edited(bench, settings)
        before = engine.logits(batch.rows)
        after = engine.logits(engine.absorb(batch.rows, outcome.change))
        assert (after - before).abs().max() > 1e-3  # else nothing was edited
        assert torch.equal(engine.logits(batch.rows), before)
        assert bench.backbone.is_untouched()

    def test_a_change_that_is_part_of_the_rows_is_the_change(self, bench, settings):
        engine, batch, outcome = edited(bench, settings)
        absorbed = engine.logits(engine.absorb(batch.rows, outcome.change))
        torch.testing.assert_close(
            absorbed, engine.logits(batch.rows, outcome.change), atol=1e-9, rtol=0
        )
        twice = outcome.change.then(outcome.change)
        torch.testing.assert_close(
            engine.logits(engine.absorb(engine.absorb(batch.rows, outcome.change), outcome.change)),
            engine.logits(batch.rows, twice),
            atol=1e-9,
            rtol=0,
        )

    @pytest.mark.parametrize("pairing", PAIRINGS)
    def test_it_is_trained_on_the_languages_that_are_paired_and_on_no_other(
        self, bench, settings, pairing
    ):
        drawn_from = PAIRINGS[pairing].drawn_from(
            bench.languages[1:], source=bench.languages[0], seed=0, stream=0
        )
        unseen = set(bench.languages[1:]) - set(drawn_from)
        outcome = edited(bench, settings, pairing)[2]
        assert_same(edited(bench, settings, pairing, hidden=unseen)[2].change, outcome.change, 1e-9)
        if drawn_from and pairing != "once":
            other = edited(bench, settings, pairing, hidden=set(drawn_from))[2].change.named()
            assert any((other[n] - t).abs().max() > 1e-6 for n, t in outcome.change.named().items())

    @pytest.mark.parametrize("protocol", ["single", "sequential"])
    def test_streams_go_on_from_any_state_to_the_same_values(self, bench, settings, protocol):
        steps = list(streams_of(bench, settings).run(protocol, batch_size=2))
        for i, step in enumerate(steps[:-1]):
            state = StreamsState.from_bytes(step.state.to_bytes())
            rest = list(streams_of(bench, settings).run(protocol, batch_size=2, state=state))
            assert values_of(rest) == values_of(steps[i + 1 :])
            assert rest[-1].state.to_bytes() == steps[-1].state.to_bytes()

    def test_a_stream_is_its_state(self, bench, settings):
        """The last state, put into the full model, gives the retention that was measured."""
        steps = list(streams_of(bench, settings).run("sequential", batch_size=1))
        full = engine_of(bench, settings, "full")
        data = bench.stream_data(full, 1, N_EDITS, PAIRINGS["fixed"], seed=0)
        change = steps[-1].state.change.take(torch.tensor([1]))
        rows = full.absorb(full.load([edit.request("en").text for edit in data.edits]), change)
        answers = full.predictions(rows)[0].tolist()
        kept = sum(answer == e.label for answer, e in zip(answers, data.edits, strict=True))
        values = [v for step in steps for v in step.values[1] if v.metric == "edit_retention"]
        assert [v.value for v in values] == [kept / N_EDITS]


def test_every_editor_is_held_to_the_contract():
    kinds = {get_args(one)[0] for one in get_args(get_args(EditorSettings)[0])}
    assert kinds == {type(settings) for settings in EDITORS.values()}
