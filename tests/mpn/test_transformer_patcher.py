"""The editor: against the full model, in batches and alone, and against torch's own Adam."""

from dataclasses import replace

import pytest
import torch

from mpn.backbones import Backbone
from mpn.editors.optimizer import BatchedAdam, OptimizerSettings, PlateauSettings
from mpn.editors.output_training import DivergenceSettings
from mpn.editors.protocol import EditBatch, EditSeed
from mpn.editors.remaining import Remaining
from mpn.editors.settings import (
    ActivationSettings,
    MemorySettings,
    StopSettings,
    TransformerPatcherSettings,
)
from mpn.editors.transformer_patcher import Neurons, TransformerPatcher
from mpn.engines.opening import open_engine
from mpn.memory import MemoryBank, MemoryTexts
from mpn.pairing import PairingSettings
from mpn.patches import Patches
from mpn.queries import QueryCache

LANGUAGES = 6


@pytest.fixture(params=[1, 2], ids=["middle", "last"])
def engines(request, backbone, tmp_path):
    cache = QueryCache(tmp_path)
    cached, full = (
        open_engine(name, backbone, layer=request.param, cache=cache) for name in ("cached", "full")
    )
    return cached, full


def batch_of(engine, texts, edits=(0, 1)):
    """Two edits in six languages, each asked to become what it is not."""
    rows = engine.regroup(engine.load(texts), len(texts) // LANGUAGES)
    columns = torch.arange(LANGUAGES).expand(len(edits), -1)
    rows = engine.take(rows, columns, torch.tensor(list(edits)))
    wanted = 1 - engine.predictions(rows)[:, 0]
    return EditBatch(rows, columns, wanted, [EditSeed(0, 3, edit) for edit in edits])


def memory_of(engine, corpus):
    texts = [example.texts["fr"] for example in corpus.examples[500:540]]
    return MemoryBank.of(engine.queries(engine.load(texts))[0], held_out_share=0.2)


def editor_of(languages=2, **overrides):
    options = {
        "memory": MemorySettings(weight=0.2, top_k=10),
        "optimizer": OptimizerSettings(max_steps=6),
        "stop": StopSettings(when="never"),
        "patches_per_edit": 2,
        "dropout": None,
    } | overrides
    return TransformerPatcher(
        TransformerPatcherSettings(**options), PairingSettings(languages=languages)
    )


def assert_same(first, second, tolerance):
    for name in ("keys", "biases", "values"):
        a, b = getattr(first, name), getattr(second, name)
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("patches_for", ["edit", "row"])
@pytest.mark.parametrize("value_init", ["noise", "zero"])
def test_training_on_cached_queries_is_training_the_full_model(
    engines, texts, corpus, value_init, patches_for
):
    editor = editor_of(value_init=value_init, patches_for=patches_for)
    cached, full = (
        editor.edit(engine, batch_of(engine, texts), memory_of(engine, corpus)).change
        for engine in engines
    )
    assert_same(cached, full, 1e-7)


def test_an_edit_in_a_batch_is_the_edit_alone(engines, texts, corpus):
    engine, editor = engines[0], editor_of()
    memory = memory_of(engine, corpus)
    together = editor.edit(engine, batch_of(engine, texts), memory).change
    for edit in (0, 1):
        alone = editor.edit(engine, batch_of(engine, texts, [edit]), memory).change
        assert_same(together[edit], alone[0], 1e-9)


def test_edits_that_stop_early_are_those_that_would_stop_alone(engines, texts, corpus):
    engine = engines[0]
    editor = editor_of(
        stop=StopSettings(when="source", min_steps=5, every=2, improvement=10.0),
        optimizer=OptimizerSettings(lr=0.1, max_steps=60),
        memory=MemorySettings(weight=1e-3),
        languages=0,
    )
    memory = memory_of(engine, corpus)
    together = editor.edit(engine, batch_of(engine, texts), memory)
    assert min(effort.steps for effort in together.efforts) < 60  # else nothing stopped early
    for edit in (0, 1):
        alone = editor.edit(engine, batch_of(engine, texts, [edit]), memory)
        assert alone.efforts == (together.efforts[edit],)
        assert_same(together.change[edit], alone.change[0], 1e-9)


def test_an_edit_changes_the_prediction_and_leaves_the_model_alone(
    engines, texts, corpus, backbone
):
    engine = engines[0]
    batch = batch_of(engine, texts)
    editor = editor_of(
        languages=0,
        optimizer=OptimizerSettings(lr=0.1, max_steps=100),
        memory=MemorySettings(weight=1e-3),
        value_init="zero",
    )
    outcome = editor.edit(engine, batch, memory_of(engine, corpus))
    assert engine.predictions(batch.rows, outcome.change)[:, 0].tolist() == batch.labels.tolist()
    assert backbone.is_untouched()


@pytest.mark.parametrize("key_init", ["source", "mean"])
def test_a_key_starts_where_it_fires_with_one(engines, texts, key_init):
    engine = engines[0]
    batch = batch_of(engine, texts)
    editor = TransformerPatcher(
        TransformerPatcherSettings(
            memory=None,
            activation=None,
            dropout=None,
            optimizer=OptimizerSettings(lr=1e-12, max_steps=1),
        ),
        PairingSettings(languages="all", key_init=key_init),
    )
    keys = editor.edit(engine, batch, MemoryBank.none(16)).change.keys[:, 0]
    queries = engine.queries(batch.rows)
    query = queries[:, 0] if key_init == "source" else queries.mean(1)
    ones = torch.ones(2, dtype=torch.float64)
    torch.testing.assert_close((keys * query).sum(-1), ones, atol=1e-6, rtol=0)


def test_reference_values_start_as_ten_times_noise(engines, texts):
    engine = engines[0]
    editor = editor_of(optimizer=OptimizerSettings(lr=1e-12, max_steps=1), memory=None)
    batch = batch_of(engine, texts)
    values = editor.edit(engine, batch, MemoryBank.none(16)).change.values
    spread = float(values.std())
    assert 7 < spread < 13  # 64 numbers of deviation 10: within 3.3 standard errors of 0.9
    again = editor.edit(engine, batch, MemoryBank.none(16)).change.values
    assert torch.equal(values, again)


@pytest.mark.parametrize("left_out", ["memory", "activation"])
def test_a_loss_can_be_left_out(engines, texts, corpus, left_out):
    engine = engines[0]
    batch, memory = batch_of(engine, texts), memory_of(engine, corpus)
    with_it = editor_of().edit(engine, batch, memory).change
    without = editor_of(**{left_out: None}).edit(engine, batch, memory).change
    settings = {"memory": MemorySettings(weight=0.0), "activation": ActivationSettings(weight=0.0)}
    weightless = editor_of(**{left_out: settings[left_out]}).edit(engine, batch, memory).change
    assert_same(without, weightless, 1e-9)
    assert not torch.allclose(with_it.keys, without.keys)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_batched_adam_is_torchs_adam_for_each_edit(weight_decay):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 2, 4, generator=generator, dtype=torch.float64)
    gradients = torch.randn(12, 3, 2, 4, generator=generator, dtype=torch.float64) * 5
    settings = OptimizerSettings(lr=0.05, weight_decay=weight_decay, clip=5.0, plateau=None)
    batched = BatchedAdam(start.flatten(1).clone(), settings)
    for gradient in gradients:
        batched.step(gradient.flatten(1))
    for edit in range(3):
        parameter = torch.nn.Parameter(start[edit].clone())
        adam = torch.optim.Adam([parameter], lr=0.05, weight_decay=weight_decay)
        for gradient in gradients:
            parameter.grad = gradient[edit].clone()
            torch.nn.utils.clip_grad_norm_([parameter], 5.0)
            adam.step()
        found = batched.parameters[edit].reshape(2, 4)
        torch.testing.assert_close(found, parameter.data, atol=1e-12, rtol=0)


def test_the_learning_rate_halves_after_two_checks_without_improvement():
    settings = OptimizerSettings(lr=1.0, plateau=PlateauSettings(patience=1, threshold=0.05))
    adam = BatchedAdam(torch.zeros(2, 1), settings)
    for losses in ([1.0, 1.0], [0.96, 0.94], [0.96, 0.93]):
        adam.check(torch.tensor(losses))
    assert adam._rates.flatten().tolist() == [0.5, 1.0]  # 0.96 is no improvement by 5 %, 0.94 is
    adam.keep(torch.tensor([True, False]))
    adam.check(torch.tensor([0.96]))
    assert adam._rates.flatten().tolist() == [0.5]


@pytest.fixture
def blind_engines(model_directory, tmp_path):
    """A first layer whose attention passes nothing on: [CLS] is the same in every text."""
    backbone = Backbone(model_directory, dtype=torch.float64)
    with torch.no_grad():
        ends = ("attention.output.dense", "attn.Wo")
        first = next(m for name, m in backbone.model.named_modules() if name.endswith(ends))
        first.weight.zero_()
    cache = QueryCache(tmp_path / "blind")
    return [
        open_engine(name, backbone, layer=0, positions="cls", cache=cache)
        for name in ("cached", "full")
    ]


def test_an_inseparable_memory_is_found_out_after_100_steps(blind_engines, texts, corpus):
    for engine in blind_engines:
        batch, memory = batch_of(engine, texts), memory_of(engine, corpus)
        editor = editor_of(
            optimizer=OptimizerSettings(max_steps=2000),
            memory=MemorySettings(weight=1e4),
            stop=StopSettings(),
        )
        efforts = editor.edit(engine, batch, memory).efforts
        assert [(effort.steps, effort.separable) for effort in efforts] == [(100, False)] * 2


def test_with_every_step_asked_for_it_is_only_reported(blind_engines, texts, corpus):
    engine = blind_engines[0]
    batch, memory = batch_of(engine, texts), memory_of(engine, corpus)
    editor = editor_of(
        optimizer=OptimizerSettings(max_steps=110), memory=MemorySettings(weight=1e4)
    )
    efforts = editor.edit(engine, batch, memory).efforts
    assert [(effort.steps, effort.separable) for effort in efforts] == [(110, False)] * 2


def test_edits_that_can_be_told_from_the_memory_are_separable(engines, texts, corpus):
    engine = engines[0]
    batch, memory = batch_of(engine, texts), memory_of(engine, corpus)
    editor = editor_of(
        optimizer=OptimizerSettings(max_steps=120), memory=MemorySettings(weight=5.0)
    )
    assert all(effort.separable for effort in editor.edit(engine, batch, memory).efforts)


def test_each_row_has_neurons_that_start_at_its_query(engines, texts):
    engine = engines[0]
    batch = batch_of(engine, texts)
    editor = editor_of(
        **{"languages": "all", "patches_for": "row", "patches_per_edit": 1, "memory": None},
        optimizer=OptimizerSettings(lr=1e-12, max_steps=1),
    )
    patches = editor.edit(engine, batch, MemoryBank.none(16)).change
    pre_activations = patches.pre_activations(engine.queries(batch.rows))
    own = pre_activations.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(own, torch.ones(2, 6, dtype=torch.float64))


def test_a_rows_neurons_answer_for_it_alone():
    # two views of two rows; neurons 0 and 1 are the first row's, 2 and 3 the second's
    settings = TransformerPatcherSettings(patches_for="row", patches_per_edit=2)
    neurons = Neurons(settings, None, settings.neurons)
    pre_activations = torch.tensor(
        [[[1, 2, -9, -9], [-9, -9, 3, 4], [5, 6, -9, -9], [-9, -9, 7, 8]]]
    )
    assert neurons._own(pre_activations).tolist() == [[[1, 2, 3, 4], [5, 6, 7, 8]]]


def test_several_neurons_of_an_edit_do_not_stay_the_same(engines, texts):
    engine = engines[0]
    editor = editor_of(value_init="zero", memory=None, patches_per_edit=2)
    keys = editor.edit(engine, batch_of(engine, texts), MemoryBank.none(16)).change.keys
    apart = (keys[:, 0] - keys[:, 1]).norm(dim=-1) / keys[:, 0].norm(dim=-1)
    assert (apart > 0.05).all()
    assert (apart < 0.5).all()


def test_an_edit_that_fails_is_trained_again_with_more_neurons(engines, texts, corpus):
    """One step changes nothing, so the edit to what is said already succeeds, the other fails."""
    engine = engines[0]
    batch = batch_of(engine, texts)
    said = 1 - batch.labels
    batch = replace(batch, labels=torch.stack([said[0], batch.labels[1]]))
    editor = editor_of(
        **{"patches_per_edit": 1, "value_init": "zero"},
        optimizer=OptimizerSettings(lr=1e-9, max_steps=1),
        retries=[{"patches_per_edit": 2}, {"patches_for": "row"}],
    )
    outcome = editor.edit(engine, batch, memory_of(engine, corpus))
    assert [(e.attempts, e.steps) for e in outcome.efforts] == [(1, 1), (3, 3)]
    assert outcome.change.n_patch == 3  # a source and two paired languages
    used = outcome.change.keys.abs().sum(-1) > 0
    assert used.tolist() == [[True, False, False], [True, True, True]]


def test_trained_again_an_edit_in_a_batch_is_the_edit_alone(engines, texts, corpus):
    engine = engines[0]
    editor = editor_of(
        stop=StopSettings(when="all", min_steps=2, every=2),
        optimizer=OptimizerSettings(lr=0.1, max_steps=12),
        memory=MemorySettings(weight=0.1, top_k=10),
        retries=[{"patches_for": "row"}],
    )
    memory = memory_of(engine, corpus)
    together = editor.edit(engine, batch_of(engine, texts), memory)
    for edit in (0, 1):
        alone = editor.edit(engine, batch_of(engine, texts, [edit]), memory)
        assert alone.efforts == (together.efforts[edit],)
        assert_same(together.change[edit], alone.change[0], 1e-9)


def test_an_edit_stops_once_it_is_sure_enough(engines, texts, corpus):
    """At the first check at which the label is as probable as is asked, not at the one before."""
    engine = engines[0]
    batch, memory = batch_of(engine, texts, [0]), memory_of(engine, corpus)

    def made(**stop):
        editor = editor_of(
            languages=0,
            optimizer=OptimizerSettings(lr=0.1, max_steps=300),
            memory=MemorySettings(weight=1e-3, held_out_share=0.0),
            value_init="zero",
            stop=StopSettings(when="source", min_steps=1, every=1, improvement=1e9, **stop),
        )
        outcome = editor.edit(engine, batch, memory)
        logits = engine.logits(batch.rows, outcome.change)[0, 0]
        return outcome.efforts[0].steps, logits.softmax(-1)[batch.labels[0]].item()

    barely, low = made()
    wanted = low + (1 - low) / 5
    steps, high = made(confidence=wanted)
    assert steps > barely
    assert high >= wanted
    assert made(confidence=high + 1e-9)[0] > steps
    assert made(confidence=high - 1e-9)[0] == steps


@pytest.mark.parametrize("compat", [False, True])
def test_the_divergence_term_is_weighted_and_may_be_averaged_as_in_the_reference(
    engines, texts, compat
):
    engine = engines[0]
    batch, rows = batch_of(engine, texts), engine.load(texts)
    bank = replace(
        MemoryBank.none(16),
        texts=MemoryTexts(rows, engine.logits(rows)[0].log_softmax(-1).flip(-1)),
    )
    settings = DivergenceSettings(weight=0.5, rows=4, reference_compat=compat)
    options = {"memory": None, "activation": None, "value_init": "zero", "dropout": None}
    losses = []
    for divergence in (None, settings):
        patcher = TransformerPatcherSettings(**options, divergence=divergence)
        columns = torch.zeros(2, 1, 1, dtype=torch.int64)
        remaining = Remaining(engine, batch, bank, columns)
        query = engine.queries(remaining.rows)
        nothing = Patches(query, query[..., 0], torch.zeros_like(query))
        losses.append(Neurons(patcher, engine, patcher.neurons).losses(remaining, nothing))
    drawn, reference = Remaining(engine, batch, bank, columns).remembered(4)
    divergence = (reference.exp() * (reference - engine.logits(drawn).log_softmax(-1))).sum(-1)
    expected = 0.5 * divergence.mean(-1) / (2 if compat else 1)  # two labels
    torch.testing.assert_close(losses[1] - losses[0], expected)
    assert (expected > 0).all()
