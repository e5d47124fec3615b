"""Changes of weights, and what a feed-forward layer makes of them: by hand, and by other ways."""

from contextlib import contextmanager

import pytest
import torch
from tiny_models import random_deltas, random_patches

from mpn.changes import WeightDeltas
from mpn.editors.attribution import attribute
from mpn.editors.finetune import FineTuneSettings, trained_weights
from mpn.editors.knowledge_neurons import largest
from mpn.engines.effects import Effect
from mpn.engines.opening import open_engine
from mpn.errors import MpnInputError
from mpn.losses import divergence_loss
from mpn.queries import QueryCache
from mpn.seeding import torch_generator


@contextmanager
def temporarily(weights, changed):
    """Write other weights into a model, and its own again afterwards."""
    own = {name: weights[name].clone() for name in changed}
    for name, weight in changed.items():
        weights[name].copy_(weight)
    yield
    for name, weight in own.items():
        weights[name].copy_(weight)


def test_deltas_add_up():
    one, other = WeightDeltas({"w": torch.tensor([[1.0]])}), WeightDeltas({"w": torch.ones(2, 1)})
    assert one.then(other).deltas["w"].tolist() == [[2.0], [2.0]]
    assert one.then(other).steps(2)[0].deltas["w"].tolist() == [[2.0], [2.0]]


def test_neurons_of_several_steps_come_apart_again_in_order():
    first, second = random_patches(2, 1, 4), random_patches(2, 1, 4, seed=1)
    apart = first.then(second).steps(2)
    for mine, given in zip(apart, (first, second), strict=True):
        assert all(map(torch.equal, mine.tensors(), given.tensors()))


def test_spread_changes_are_zero_elsewhere():
    spread = WeightDeltas({"w": torch.tensor([[5.0]])}).spread(3, torch.tensor([1]))
    assert spread.deltas["w"].tolist() == [[0.0], [5.0], [0.0]]


def test_the_effect_of_changed_weights_is_the_layers_difference(backbone):
    layer, queries = 1, torch.randn(1, 3, 16, generator=torch_generator("queries")).double()
    deltas = random_deltas(backbone, layer, n_edits=1)
    site, weights = backbone.site(layer), dict(backbone.model.named_parameters())
    before = site(queries)
    added = Effect(backbone, layer)(deltas, queries)
    changed = {name: weights[name] + delta[0] for name, delta in deltas.deltas.items()}
    with torch.no_grad(), temporarily(weights, changed):
        after = site(queries)
    torch.testing.assert_close(added, after - before, atol=1e-12, rtol=0)


def test_attributions_sum_to_what_the_logit_gains_by_the_layer(backbone, texts, tmp_path):
    """The integral is exact in the limit; its error falls as one over the number of terms."""
    layer = 1
    engine = open_engine("cached", backbone, layer=layer, changes="ffn", cache=QueryCache(tmp_path))
    rows = engine.regroup(engine.load(texts[:4]), 2)
    labels = torch.tensor([0, 1])
    name = next(n for n, o in backbone.ffn_parameters(layer).items() if o == "down.weight")
    silent = WeightDeltas({name: -backbone.site(layer).down.weight[None].expand(2, -1, -1)})
    gained = (engine.logits(rows) - engine.logits(rows, silent)).mean(1)[[0, 1], [0, 1]]
    errors = [
        (attribute(engine, rows, labels, layer, n_steps=n).sum(1) - gained).abs().max()
        for n in (100, 200)
    ]
    assert errors[1] < 0.05 * gained.abs().max()
    assert 0.3 < errors[1] / errors[0] < 0.7


def test_neurons_count_from_the_threshold_on_and_up_to_a_number():
    attributions = torch.tensor([[0.1, 1.0, 0.2, 0.19], [-1.0, -2.0, -3.0, -4.0]])
    indices, counts = largest(attributions, threshold=0.2, most=3)
    assert indices[0].tolist() == [1, 2, 3]
    assert counts.tolist() == [[True, True, False], [True, False, False]]
    assert largest(attributions, threshold=0.0, most=2)[1].tolist()[0] == [True, True]


def test_divergence_is_the_mean_over_texts_and_the_sum_over_labels():
    reference = torch.tensor([[[0.5, 0.5], [0.25, 0.75]]]).log()
    logits = torch.tensor([[[0.25, 0.75], [0.25, 0.75]]]).log().requires_grad_()
    loss = divergence_loss(logits, reference)
    by_hand = (0.5 * torch.tensor(2.0).log() + 0.5 * torch.tensor(2 / 3).log()) / 2
    torch.testing.assert_close(loss, by_hand[None])
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient[0, 0], torch.tensor([-0.125, 0.125]))  # (p - ref) / n
    torch.testing.assert_close(gradient[0, 1], torch.zeros(2))


@pytest.mark.parametrize("layers, expected", [("last", [2]), ([1, 0], [0, 1])])
def test_fine_tuning_trains_the_weights_that_are_named(backbone, layers, expected):
    names = [name for layer in expected for name in backbone.ffn_parameters(layer)]
    assert trained_weights(backbone, FineTuneSettings(layers=layers)) == names


def test_all_layers_and_what_is_in_none_of_them_are_the_model(backbone):
    everything = trained_weights(backbone, FineTuneSettings(part="model"))
    layers = trained_weights(backbone, FineTuneSettings(part="layer", layers="all"))
    ffns = trained_weights(backbone, FineTuneSettings(part="ffn", layers="all"))
    assert set(ffns) < set(layers) < set(everything)
    assert not any("embed" in name or "classifier" in name for name in layers)


def test_a_layer_that_is_not_there_is_refused(backbone):
    with pytest.raises(MpnInputError, match="layer 7"):
        trained_weights(backbone, FineTuneSettings(layers=[0, 7]))
