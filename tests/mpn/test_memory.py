"""The rows on which neurons fire most: against the plain way, with and without past edits."""

import pytest
import torch
from tiny_models import random_patches

from mpn.losses import memory_loss
from mpn.memory import MemoryBank
from mpn.seeding import torch_generator

D_MODEL = 16


def rows(*shape, seed=0):
    return torch.randn(
        *shape, D_MODEL, generator=torch_generator("rows", seed), dtype=torch.float64
    )


def plain(queries, patches):
    """All pre-activations, the plain way."""
    return patches.pre_activations(queries)


@pytest.mark.parametrize("n_edits", [1, 3])
@pytest.mark.parametrize("top_k", [1, 7, 50, 60, None])
def test_the_loudest_rows_are_those_of_a_plain_search(n_edits, top_k):
    bank = MemoryBank(rows(50), rows(0))
    patches = random_patches(n_edits, 2, D_MODEL)
    for tensor in patches.tensors():
        tensor.requires_grad_()
    expected = plain(bank.queries, patches)
    if top_k is not None:
        expected = expected.topk(min(top_k, 50), dim=1).values
    found = bank.loudest(patches, top_k)
    torch.testing.assert_close(found.sort(1).values, expected.sort(1).values)
    leaves = [patches.keys, patches.biases]
    for one, other in zip(
        torch.autograd.grad(found.exp().sum(), leaves),
        torch.autograd.grad(expected.exp().sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_past_edits_count_for_their_own_stream_only():
    past, kept = rows(2, 4, seed=1), torch.tensor([[True, False, True, True], [False] * 4])
    bank = MemoryBank(rows(6), rows(0)).with_past(past, kept)
    patches = random_patches(2, 1, D_MODEL)
    assert bank.counts(2).tolist() == [9, 6]
    for edit, own in ((0, past[0, kept[0]]), (1, past[1, kept[1]])):
        expected = plain(torch.cat([bank.queries, own]), patches)[edit, :, 0]
        found = bank.loudest(patches, 5)[edit, :, 0]
        torch.testing.assert_close(found.sort().values, expected.topk(5).values.sort().values)
    only_second = bank.of_edits(torch.tensor([1]))
    assert only_second.counts(1).tolist() == [6]
    found = only_second.loudest(random_patches(2, 1, D_MODEL).take(torch.tensor([1])), None)
    assert int(found.isfinite().sum()) == 6


def test_held_out_rows_are_not_trained_on():
    bank = MemoryBank.of(rows(10), held_out_share=0.2)
    assert torch.equal(bank.held_out, rows(10)[:2])
    assert torch.equal(bank.queries, rows(10)[2:])


@pytest.mark.parametrize("shape", ["exp", "margin"])
@pytest.mark.parametrize("top_k", [4, 20, None])
@pytest.mark.parametrize("compat", [False, True])
def test_the_loss_of_a_batch_with_unequal_pasts_is_each_edits_own(shape, top_k, compat):
    """With -inf where an edit has fewer rows; more than there are may be asked for."""
    from mpn.editors.settings import MemorySettings
    from mpn.editors.transformer_patcher import Neurons

    settings = MemorySettings(top_k=top_k, shape=shape, reference_compat=compat)
    past, kept = rows(2, 3, seed=1), torch.tensor([[True, True, False], [True, True, True]])
    shared = rows(6)
    patches, edit = random_patches(2, 2, D_MODEL), rows(2, 3, seed=2)
    own = patches.pre_activations(edit)
    bank = MemoryBank(shared, rows(0)).with_past(past, kept)
    together = Neurons._memory_loss(bank, own, patches, settings)
    for i in (0, 1):
        everything = torch.cat([shared, past[i, kept[i]]])
        alone = memory_loss(
            patches[i].pre_activations(everything),
            own[i],
            top_k=top_k,
            shape=shape,
            repeated=compat,
        )
        torch.testing.assert_close(together[i], alone)
