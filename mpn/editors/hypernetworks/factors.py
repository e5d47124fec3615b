"""The gradient of one text's edit loss, as pairs of factors.

The gradient of a linear map's weight is the sum of ``delta u^T`` over a text's positions: ``u``
what the map reads there, ``delta`` the gradient of what it gives. Where nothing but [CLS] is read
it is one pair, exactly. Elsewhere the leading singular vectors stand for it, whose sign means
nothing: what reads a pair has to be odd in it. Both vectors of a pair have the same length, so
that a pair that counts for little is small, and one of a text that is right is nothing.
"""

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mpn.changes import WeightDeltas
from mpn.engines.protocol import Engine
from mpn.losses import edit_loss

RowsT = TypeVar("RowsT")

WEIGHTS = ("up.weight", "down.weight")
"""Of a feed-forward layer, in its own names."""

_ELEMENTS_AT_ONCE = {"cpu": 2**25, "cuda": 2**29}


@dataclass(frozen=True)
class Factors:
    """Pairs for one weight: a gradient is the sum of ``outputs[k] inputs[k]^T`` over ``k``.

    Attributes:
        inputs: ``u``, of the side that the weight reads, ``[..., rank, d_in]``.
        outputs: ``delta``, of the side that it gives, ``[..., rank, d_out]``.
    """

    inputs: Tensor
    outputs: Tensor

    def __getitem__(self, index: Tensor | tuple[Tensor, ...]) -> "Factors":
        """Return the pairs at indices of the leading dimensions."""
        return Factors(self.inputs[index], self.outputs[index])

    def reshape(self, *leading: int) -> "Factors":
        """Return the same pairs with other dimensions before the vectors' own."""
        return Factors(*(t.reshape(*leading, t.shape[-1]) for t in (self.inputs, self.outputs)))


def weight_names(engine: Engine[RowsT]) -> dict[str, str]:
    """Return the names in the model of :data:`WEIGHTS` at an engine's layer."""
    names = engine.backbone.ffn_parameters(engine.layer)
    own = {local: name for name, local in names.items()}
    return {local: own[local] for local in WEIGHTS}


def edit_factors(
    engine: Engine[RowsT], rows: RowsT, columns: Tensor, edits: Tensor, labels: Tensor, rank: int
) -> dict[str, Factors]:
    """Return the factors of the cross-entropy's gradient, text by text.

    Args:
        engine: The model; the rows may have changes that are part of it.
        rows: Where the texts are, ``[n_edits or 1, n_columns]``.
        columns: Each text's, int64 on the CPU, ``[n]``.
        edits: And on which of the changed models, ``[n]``.
        labels: What it shall be, ``[n]``.
        rank: Pairs, where there is more than one.

    Returns:
        For each of :data:`WEIGHTS`, ``[n, rank or 1]``; of no graph.
    """
    backbone = engine.backbone
    weights = dict(backbone.model.named_parameters())
    names = weight_names(engine)
    shapes = {local: weights[name].shape for local, name in names.items()}
    n_elements = sum(shape.numel() for shape in shapes.values())
    at_once = max(1, _ELEMENTS_AT_ONCE[backbone.device.type] // n_elements)
    is_one_pair = backbone.reads_cls_only(engine.layer)
    found: dict[str, list[Factors]] = {local: [] for local in WEIGHTS}
    for part in torch.split(torch.arange(len(columns)), at_once):
        taken = engine.take(rows, columns[part, None], edits[part])
        zeros = {
            local: torch.zeros(
                len(part), *shape, dtype=backbone.dtype, device=backbone.device, requires_grad=True
            )
            for local, shape in shapes.items()
        }
        change = WeightDeltas({names[local]: zero for local, zero in zeros.items()})
        losses = edit_loss(engine.logits(taken, change), labels[part].to(backbone.device))
        gradients = torch.autograd.grad(losses.sum(), list(zeros.values()))
        for local, gradient in zip(zeros, gradients, strict=True):
            pairs = only_pair(gradient) if is_one_pair else leading_pairs(gradient, rank)
            found[local].append(pairs)
    return {local: _joined(parts) for local, parts in found.items()}


def only_pair(gradients: Tensor) -> Factors:
    """Return the pair that each matrix of rank 1 is, of ``[n, d_out, d_in]``; nothing where 0."""
    longest = gradients.norm(dim=2).argmax(1)
    rows = gradients[torch.arange(len(gradients), device=gradients.device), longest]
    directions = normalize(rows, dim=-1)[..., None]  # [n, d_in, 1]
    return _balanced(directions.mT, (gradients @ directions).mT)


def leading_pairs(gradients: Tensor, rank: int) -> Factors:
    """Return the pairs of the largest singular values of ``[n, d_out, d_in]``."""
    if gradients.shape[1] < gradients.shape[2]:
        other = leading_pairs(gradients.mT, rank)
        return Factors(other.outputs, other.inputs)
    exact = gradients.double()
    directions = torch.linalg.eigh(exact.mT @ exact).eigenvectors[..., -rank:]
    pairs = (directions.mT, (exact @ directions).mT)
    return _balanced(*(t.to(gradients.dtype) for t in pairs))


def _balanced(directions: Tensor, others: Tensor) -> Factors:
    """Share the length of ``others`` evenly, ``directions`` being of length 1."""
    root = others.norm(dim=-1, keepdim=True).sqrt()
    return Factors(directions * root, others / root.clamp_min(torch.finfo(others.dtype).tiny))


def _joined(parts: list[Factors]) -> Factors:
    return Factors(
        torch.cat([part.inputs for part in parts]), torch.cat([part.outputs for part in parts])
    )
