"""Views under dropout: their own for each edit, and what they are said to be."""

import pytest
import torch
from tiny_models import random_patches

from mpn.backbones.backbone import dropouts
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.protocol import EditBatch, EditSeed
from mpn.editors.settings import DropoutSettings, StopSettings, TransformerPatcherSettings
from mpn.editors.transformer_patcher import TransformerPatcher
from mpn.engines.full import attached
from mpn.engines.opening import open_engine
from mpn.errors import MpnInputError
from mpn.memory import MemoryBank
from mpn.pairing import PairingSettings
from mpn.queries import QueryCache
from mpn.seeding import torch_generator

N_LANGUAGES = 6


@pytest.fixture(params=[1, 2], ids=["middle", "last"])
def engines(request, backbone, tmp_path):
    cache = QueryCache(tmp_path)
    return {
        on: open_engine(name, backbone, layer=request.param, cache=cache)
        for on, name in (("query", "cached"), ("model", "full"))
    }


def generators(n):
    return [torch_generator("views", i) for i in range(n)]


def test_a_rate_of_zero_is_no_dropout(engines, texts):
    engine = engines["query"]
    rows = engine.regroup(engine.load(texts), 2)
    views = engine.views(rows, DropoutSettings(views=3, rate=0.0), generators(2))
    patches = random_patches(2, 1, 16)
    expected = engine.logits(rows, patches).repeat(1, 3, 1)
    torch.testing.assert_close(engine.logits(views, patches), expected, atol=1e-12, rtol=0)


def test_the_dropped_query_is_read_and_carried_on(engines, texts, backbone):
    """The neuron reads it, and a residual that is the query; the frozen FFN's output stays."""
    engine = engines["query"]
    text = texts[:1]
    rows = engine.load(text)
    view = engine.views(rows, DropoutSettings(views=1, rate=0.5), generators(1))
    prefix = backbone.prefix(text, engine.layer)
    n_positions = prefix.inputs.shape[1]
    kept = torch.rand(n_positions, 16, generator=generators(1)[0]) >= 0.5
    queries, site = backbone.queries(prefix.inputs, engine.layer), backbone.site(engine.layer)
    noisy = queries * kept * 2
    torch.testing.assert_close(engine.queries(view)[0], noisy[:, 0])
    patches = random_patches(1, 1, 16)
    states = site(queries) + (noisy if site.norm_before is None else prefix.inputs)
    states = states + patches.contribution(noisy, backbone.activation)
    expected = backbone.suffix(states, prefix.mask, engine.layer)
    torch.testing.assert_close(engine.logits(view, patches)[0], expected, atol=1e-10, rtol=0)
    assert not torch.allclose(expected, engine.logits(rows, patches)[0])


def test_the_models_own_dropout_is_the_models(engines, texts, backbone):
    engine, patches = engines["model"], random_patches(2, 1, 16)
    rows = engine.regroup(engine.load(texts[:4]), 2)
    state = torch.get_rng_state()
    views = engine.views(rows, DropoutSettings(on="model", views=2), generators(2))
    found = engine.logits(views, patches)
    assert torch.equal(torch.get_rng_state(), state)
    assert not backbone.model.training
    for edit in (0, 1):
        seed = int(torch.randint(2**62, (), generator=generators(2)[edit]))
        backbone.model.train()
        with attached(backbone, engine.layer, [patches[edit]]), torch.random.fork_rng([]):
            torch.manual_seed(seed)  # noqa: TID251
            inputs = backbone.tokenize(texts[2 * edit : 2 * edit + 2] * 2)
            expected = backbone.model(**inputs).logits
        backbone.model.eval()
        torch.testing.assert_close(found[edit], expected)
    assert not torch.allclose(found[:, :2], found[:, 2:])  # each view has its own dropout
    assert not torch.allclose(engine.queries(views)[:, :2], engine.queries(views)[:, 2:])
    assert torch.equal(engine.queries(views), engine.queries(views))


@pytest.mark.parametrize("on", ["query", "model"])
def test_an_edit_under_dropout_is_the_same_in_a_batch_and_alone(engines, texts, on):
    engine = engines[on]
    rows = engine.regroup(engine.load(texts), 2)
    editor = TransformerPatcher(
        TransformerPatcherSettings(
            memory=None,
            optimizer=OptimizerSettings(max_steps=3),
            stop=StopSettings(when="never"),
            dropout=DropoutSettings(on=on, views=2),
        ),
        PairingSettings(languages=2),
    )

    def edited(edits):
        columns = torch.arange(N_LANGUAGES).expand(len(edits), -1)
        own = engine.take(rows, columns, torch.tensor(edits))
        seeds = [EditSeed(0, 1, edit) for edit in edits]
        batch = EditBatch(own, columns, torch.ones(len(edits)).long(), seeds)
        return editor.edit(engine, batch, MemoryBank.none(16)).change

    together = edited([0, 1])
    for edit in (0, 1):
        for one, other in zip(together[edit].tensors(), edited([edit])[0].tensors(), strict=True):
            torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)
    clean = editor.settings.model_copy(update={"dropout": None})
    editor = TransformerPatcher(clean, PairingSettings(languages=2))
    assert not torch.allclose(edited([0, 1]).keys, together.keys)


def test_cached_queries_have_not_the_models_own_dropout(engines, texts):
    engine = engines["query"]
    with pytest.raises(MpnInputError, match=r"editor\.dropout\.on"):
        engine.views(engine.load(texts), DropoutSettings(on="model"), generators(1))


def test_dropout_of_the_query_is_the_same_in_the_full_model(engines, texts):
    patches, answers = random_patches(2, 1, 16), []
    for engine in engines.values():
        rows = engine.regroup(engine.load(texts), 2)
        views = engine.views(rows, DropoutSettings(views=3), generators(2))
        answers.append((engine.logits(views, patches), engine.queries(views)))
    for fast, full in zip(*answers, strict=True):
        torch.testing.assert_close(fast, full, atol=1e-10, rtol=0)


def test_a_rate_replaces_the_models_own_for_as_long_as_it_is_asked_for(engines, texts, backbone):
    engine = engines["model"]
    own = backbone.logits(texts[:2])
    rates = [getattr(*place) for place in dropouts(backbone.model)]
    for rate, is_own in ((0.0, True), (0.3, False)):
        dropout = DropoutSettings(on="model", views=1, rate=rate)
        views = engine.views(engine.load(texts[:2]), dropout, generators(1))
        assert torch.allclose(engine.logits(views)[0], own) == is_own
    assert [getattr(*place) for place in dropouts(backbone.model)] == rates


def test_a_model_without_dropout_of_its_own_needs_a_rate(engines, texts, backbone, monkeypatch):
    for place in dropouts(backbone.model):
        monkeypatch.setattr(*place, 0.0)
    engine = engines["model"]
    with pytest.raises(MpnInputError, match="the model's own, which is 0"):
        engine.views(engine.load(texts), DropoutSettings(on="model"), generators(1))
