"""The cached engine against its oracle, the full model."""

import pytest
import torch
from tiny_models import random_patches

from mpn.backbones import Backbone
from mpn.engines.full import FullEngine, attached
from mpn.engines.opening import open_engine
from mpn.errors import MpnInputError
from mpn.patches import Patches
from mpn.queries import QueryCache

SITES = [(0, "all"), (1, "all"), (1, "cls"), (2, "all")]  # at the last layer both are one


@pytest.fixture(params=SITES, ids=lambda site: f"layer{site[0]}-{site[1]}")
def engines(request, backbone, tmp_path):
    layer, positions = request.param
    cache = QueryCache(tmp_path / "queries")
    cached, full = (
        open_engine(name, backbone, layer=layer, positions=positions, cache=cache)
        for name in ("cached", "full")
    )
    return cached, full


def test_unpatched_logits_equal_the_whole_model(engines, backbone, texts):
    for engine in engines:
        logits = engine.logits(engine.load(texts))[0]
        torch.testing.assert_close(logits, backbone.logits(texts), atol=1e-10, rtol=0)


def test_patched_logits_equal_the_whole_model(engines, texts):
    cached, full = engines
    patches = random_patches(n_edits=3, n_patch=2, d_model=16)
    fast = cached.logits(cached.load(texts), patches)
    slow = full.logits(full.load(texts), patches)
    assert fast.shape == (3, len(texts), 2)
    torch.testing.assert_close(fast, slow, atol=1e-10, rtol=0)
    unpatched = cached.logits(cached.load(texts))
    assert (fast - unpatched).abs().max() > 0.01  # else nothing was tested


def test_gradients_of_the_patches_equal_the_whole_model(engines, texts):
    gradients = []
    for engine in engines:
        leaves = random_patches(n_edits=2, n_patch=1, d_model=16)
        for tensor in (leaves.keys, leaves.biases, leaves.values):
            tensor.requires_grad_()
        engine.logits(engine.load(texts[:4]), leaves).square().sum().backward()
        gradients.append([leaves.keys.grad, leaves.biases.grad, leaves.values.grad])
    for fast, slow in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-9, rtol=1e-9)


def test_shared_rows_can_be_taken_from_changed_models(engines, texts):
    patches = random_patches(n_edits=3, n_patch=2, d_model=16)
    columns, edits = torch.tensor([[3, 1], [0, 2]]), torch.tensor([2, 1])
    for engine in engines:
        rows = engine.load(texts[:4])
        taken = engine.take(engine.absorb(rows, patches), columns, edits)
        expected = engine.logits(rows, patches)[edits[:, None], columns]
        torch.testing.assert_close(engine.logits(taken), expected, atol=1e-10, rtol=0)


def test_absorbed_patches_are_part_of_the_model(engines, texts):
    cached, full = engines
    first, second, third = (random_patches(2, n, 16, seed=n) for n in (1, 2, 3))
    answers = []
    for engine in (cached, full):
        rows = engine.absorb(engine.absorb(engine.load(texts), first), second)
        answers.append(engine.logits(rows, third))
    joint = Patches.concatenate([first, second, third])
    answers.append(full.logits(full.load(texts), joint))
    torch.testing.assert_close(answers[0], answers[1], atol=1e-10, rtol=0)
    torch.testing.assert_close(answers[0], answers[2], atol=1e-10, rtol=0)


def test_picked_rows_are_those_asked_for(engines, texts):
    columns, edits = torch.tensor([[2, 0], [1, 1]]), torch.tensor([1, 0])
    wanted = [texts[6 + 2], texts[6], texts[1], texts[1]]
    for engine in engines:
        rows = engine.take(engine.regroup(engine.load(texts), 2), columns, edits)
        logits = engine.logits(rows).flatten(0, 1)
        torch.testing.assert_close(
            logits, engine.logits(engine.load(wanted))[0], atol=1e-10, rtol=0
        )


def test_queries_are_the_inputs_of_the_ffn_at_cls(engines, texts):
    cached, full = (engine.queries(engine.load(texts)) for engine in engines)
    assert cached.shape == (1, len(texts), 16)
    torch.testing.assert_close(cached, full, atol=1e-10, rtol=0)


def test_predictions_in_parts_are_predictions(engines, texts, monkeypatch):
    cached, full = engines
    patches = random_patches(2, 1, 16)
    whole = cached.predictions(cached.load(texts), patches)
    for limit in ("last_layer._ELEMENTS_AT_ONCE", "suffix._TOKENS_AT_ONCE"):
        monkeypatch.setattr(f"mpn.engines.{limit}", {"cpu": 1})
    monkeypatch.setattr("mpn.engines.full._TEXTS_AT_ONCE", 5)
    assert torch.equal(cached.predictions(cached.load(texts), patches), whole)
    assert torch.equal(full.predictions(full.load(texts), patches), whole)


def test_text_pairs_are_read_as_pairs(backbone, tmp_path):
    pairs = [("one premise", "a hypothesis"), ("another, longer premise", "no")]
    engine = open_engine("cached", backbone, layer=2, cache=QueryCache(tmp_path))
    logits = engine.logits(engine.load(pairs))[0]
    torch.testing.assert_close(logits, backbone.logits(pairs), atol=1e-10, rtol=0)


def test_float32_is_within_the_promised_tolerance(model_directory, texts, tmp_path):
    backbone = Backbone(model_directory)
    patches = random_patches(2, 1, 16, dtype=torch.float32)
    for layer in range(3):
        cached = open_engine("cached", backbone, layer=layer, cache=QueryCache(tmp_path))
        full = FullEngine(backbone, layer=layer)
        fast = cached.logits(cached.load(texts), patches)
        slow = full.logits(full.load(texts), patches)
        torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0)


def test_hooks_leave_no_trace(backbone, texts):
    before = backbone.logits(texts)
    with (
        pytest.raises(RuntimeError, match="inside"),
        attached(backbone, 1, [random_patches(1, 1, 16)[0]]),
    ):
        assert not torch.equal(backbone.logits(texts), before)
        raise RuntimeError("inside")
    assert torch.equal(backbone.logits(texts), before)
    assert backbone.is_untouched()


def test_a_written_weight_is_noticed(model_directory):
    backbone = Backbone(model_directory)
    with torch.no_grad():
        backbone.site(0).down.weight[0, 0] += 1e-6
    assert not backbone.is_untouched()


def test_a_model_that_does_not_split_is_refused(model_directory, texts):
    backbone = Backbone(model_directory)
    states = backbone.states
    backbone.states = lambda inputs, layer: states(inputs, layer) * 1.5 + inputs
    with pytest.raises(MpnInputError, match="layer 1: the split network differs"):
        backbone.verify_split(texts, 1)


def test_layers_are_named_by_number_or_last(backbone):
    assert [backbone.layer_index(layer) for layer in (0, 2, "last")] == [0, 2, 2]
    for layer in (-1, 3):
        with pytest.raises(MpnInputError, match="layers are 0 to 2, or last"):
            backbone.layer_index(layer)


def test_a_long_stream_of_absorbed_neurons_stays_the_full_model(model_directory, texts, tmp_path):
    """In float32, neuron after neuron; and rows do not grow with them at the last layer."""
    backbone = Backbone(model_directory)
    engine = open_engine("cached", backbone, layer=2, cache=QueryCache(tmp_path))
    neurons = [random_patches(1, 1, 16, seed=i, dtype=torch.float32) for i in range(300)]
    fresh = rows = engine.load(texts)
    for neuron in neurons:
        rows = engine.absorb(rows, neuron)
    full = open_engine("full", backbone, layer=2, cache=QueryCache(tmp_path))
    expected = full.logits(full.absorb(full.load(texts), Patches.concatenate(neurons)))
    torch.testing.assert_close(engine.logits(rows), expected, atol=1e-4, rtol=0)
    assert [t.shape for t in rows.tensors()] == [t.shape for t in fresh.tensors()]
