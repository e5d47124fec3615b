"""Fine-tuning, knowledge neurons and CaliNet: their first steps against torch's own gradients."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from mpn.editors.calinet import CaliNetSettings
from mpn.editors.finetune import FineTuneSettings
from mpn.editors.knowledge_neurons import KnowledgeNeuronsSettings
from mpn.editors.opening import open_editor
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.output_training import DivergenceSettings
from mpn.editors.protocol import EditBatch, EditSeed
from mpn.editors.stopping import StopSettings
from mpn.engines.opening import open_engine
from mpn.losses import divergence_loss
from mpn.memory import MemoryBank, MemoryTexts
from mpn.pairing import PairingSettings
from mpn.queries import QueryCache

LR = 0.01
ALL = PairingSettings(languages="all")


def steps(n, **options):
    return {
        "optimizer": OptimizerSettings(
            lr=LR, weight_decay=0.0, clip=None, max_steps=n, plateau=None
        ),
        "stop": StopSettings(when="never"),
        **options,
    }


@pytest.fixture
def engine(backbone, tmp_path):
    return open_engine("cached", backbone, layer=2, changes="ffn", cache=QueryCache(tmp_path))


def edited(engine, settings, texts, label=1, memory=None):
    """Make one edit of some texts, all of which are trained on."""
    columns = torch.arange(len(texts))[None]
    batch = EditBatch(engine.load(texts), columns, torch.tensor([label]), [EditSeed(0, 0, 0)])
    bank = MemoryBank.none(16) if memory is None else memory
    return open_editor(settings, ALL).edit(engine, batch, bank).change


def full_gradients(backbone, texts, names, label=1):
    """Return the gradients of the plain model's cross-entropy by weights."""
    model = copy.deepcopy(backbone.model)
    weights = {name: w for name, w in model.named_parameters() if name in names}
    for weight in weights.values():
        weight.requires_grad_()
    logits = model(**backbone.tokenize(texts)).logits
    loss = cross_entropy(logits, torch.full((len(texts),), label))
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


def first_adam_step(gradient):
    return -LR * gradient / (gradient.abs() + 1e-8)


def test_the_first_step_of_fine_tuning_is_adams_on_the_plain_models_gradient(
    engine, backbone, texts
):
    change = edited(engine, FineTuneSettings(**steps(1)), texts[:3])
    gradients = full_gradients(backbone, texts[:3], set(change.deltas))
    assert len(change.deltas) >= 2
    for name, delta in change.deltas.items():
        torch.testing.assert_close(delta[0], first_adam_step(gradients[name]), atol=1e-8, rtol=0)


def test_a_divergence_pulls_from_the_second_step_on(engine, texts):
    """At the base model its gradient is zero; then it keeps the other texts nearer to it."""
    others = engine.load(texts[6:])
    reference = engine.logits(others)[0].log_softmax(-1)
    memory = MemoryBank(
        torch.zeros(0, 16), torch.zeros(0, 16), texts=MemoryTexts(others, reference)
    )

    def made(n, weight):
        divergence = None if weight is None else DivergenceSettings(weight=weight, size=6, rows=6)
        settings = FineTuneSettings(**steps(n), divergence=divergence)
        change = edited(engine, settings, texts[:2], memory=memory)
        return change, float(divergence_loss(engine.logits(others, change), reference[None]))

    plain, kept = made(1, None)[0], made(1, 50.0)[0]
    for name, delta in plain.deltas.items():
        torch.testing.assert_close(kept.deltas[name], delta, atol=1e-6, rtol=0)
    far, near = made(10, None)[1], made(10, 50.0)[1]
    assert near < 0.7 * far


def test_knowledge_neurons_move_only_the_columns_that_were_located(engine, backbone, texts):
    settings = KnowledgeNeuronsSettings(**steps(1), layers="last", neurons=3, threshold=0.0)
    change = edited(engine, settings, texts[:3])
    (name,) = change.deltas
    (gradient,) = full_gradients(backbone, texts[:3], {name}).values()
    moved = change.deltas[name][0].any(0)
    assert 1 <= int(moved.sum()) <= 3
    torch.testing.assert_close(
        change.deltas[name][0][:, moved], first_adam_step(gradient[:, moved]), atol=1e-8, rtol=0
    )


def test_neurons_below_the_threshold_are_left_alone(engine, texts):
    settings = KnowledgeNeuronsSettings(**steps(3), layers="last", neurons=5, threshold=1.0)
    (delta,) = edited(engine, settings, texts[:3]).deltas.values()
    assert int(delta[0].any(0).sum()) == 1


def test_the_first_step_of_calinets_slots_is_their_values(engine, backbone, texts, tmp_path):
    """Values start at zero, so keys have no gradient yet: dL/dv = act(q k) dL/d(output)."""
    engine = open_engine("cached", backbone, layer=2, cache=QueryCache(tmp_path))
    start = edited(engine, CaliNetSettings(**steps(1), slots=4), texts[:3])
    again = edited(engine, CaliNetSettings(**steps(2), slots=4), texts[:3])
    assert not start.biases.any()
    rows = engine.load(texts[:3])
    values = torch.zeros_like(start.values).requires_grad_()
    probe = type(start)(start.keys, start.biases, values)
    loss = cross_entropy(engine.logits(rows, probe)[0], torch.ones(3, dtype=torch.int64))
    (gradient,) = torch.autograd.grad(loss, values)
    torch.testing.assert_close(start.values, first_adam_step(gradient), atol=1e-8, rtol=0)
    assert (again.keys - start.keys).abs().max() > LR / 2


def test_slots_are_seeded_by_the_edit(engine, backbone, texts, tmp_path):
    engine = open_engine("cached", backbone, layer=2, cache=QueryCache(tmp_path))
    keys = [
        open_editor(CaliNetSettings(**steps(1), slots=64), ALL)
        .edit(
            engine,
            EditBatch(
                engine.load(texts[:2]),
                torch.arange(2)[None],
                torch.tensor([1]),
                [EditSeed(0, 0, position)],
            ),
            MemoryBank.none(16),
        )
        .change.keys
        for position in (0, 0, 1)
    ]
    assert torch.equal(keys[0], keys[1]) and not torch.equal(keys[0], keys[2])
    assert 0.2 < float(keys[0].std()) < 0.3  # 1 / sqrt(16)
