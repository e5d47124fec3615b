"""The margin: numbers by hand, dropout itself, and what it does to an edit."""

import pytest
import torch

from mpn.editors.margin import MarginSettings, deviations, lowered
from mpn.engines.dropout import kept_shares
from mpn.patches import Patches
from mpn.seeding import torch_generator

QUERIES = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])  # mean squares 4.5 and 8
KEYS = torch.tensor([[[1.0, 0.0], [2.0, 1.0]]])


def test_deviations_match_a_hand_computation():
    found = deviations(QUERIES, KEYS)
    torch.testing.assert_close(found, torch.tensor([[4.5**0.5, (4 * 4.5 + 8) ** 0.5]]))


def test_deviations_are_those_of_dropout_of_half_a_query():
    generator = torch_generator("margin")
    query, key = (torch.randn(1, 64, generator=generator) for _ in range(2))
    shares = kept_shares((20_000, 64), 0.5, generator, query)
    scatter = ((query * shares) @ key[0]).std()
    found = deviations(query[None], key[None]).item()
    assert found == pytest.approx(scatter.item(), rel=0.02)


def test_neurons_fire_less_by_the_margin_and_are_the_same_otherwise():
    patches = Patches(KEYS, torch.tensor([[1.0, 2.0]]), torch.ones_like(KEYS))
    less = lowered(patches, QUERIES, MarginSettings(deviations=2.0))
    torch.testing.assert_close(less.biases, patches.biases - 2 * deviations(QUERIES, KEYS))
    assert torch.equal(less.keys, patches.keys)
    assert torch.equal(less.values, patches.values)


def test_the_margin_pulls_keys_away_from_what_they_lean_on_most():
    keys = torch.tensor([[[2.0, 1.0]]]).requires_grad_()
    patches = Patches(keys, torch.zeros(1, 1), torch.zeros_like(keys))
    queries = torch.ones(1, 1, 2)
    lowered(patches, queries, MarginSettings()).biases.sum().backward()
    assert keys.grad is not None
    first, second = keys.grad.flatten().tolist()
    assert first < second < 0  # to raise the bias, the larger entry shrinks most


def test_a_row_that_fires_by_less_than_the_margin_counts_as_silent():
    patches = Patches(torch.ones(1, 1, 1), torch.zeros(1, 1), torch.ones(1, 1, 1))
    for deviation, fires in ((0.99, True), (1.01, False)):  # q . k = 1, its deviation 1
        queries = torch.ones(1, 1, 1)
        less = lowered(patches, queries, MarginSettings(deviations=deviation))
        assert (less.pre_activations(queries) > 0).item() is fires
