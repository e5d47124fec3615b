"""Which neurons of a feed-forward layer an answer comes from: integrated gradients."""

from typing import TypeVar

import torch
from torch import Tensor

from mpn.changes import WeightDeltas
from mpn.engines.protocol import Engine

RowsT = TypeVar("RowsT")


def attribute(
    engine: Engine[RowsT], rows: RowsT, labels: Tensor, layer: int, *, n_steps: int
) -> Tensor:
    """Attribute labels' logits to the neurons of one layer.

    A neuron ``h_i`` acts through the column ``W_i`` of the layer's outer map, so to scale it is
    to scale that column. With all neurons of the layer at a share ``s`` of their values,

        A_i = mean over s = 1/m, 2/m ... 1 of d logit / d s_i,

    the integral of the gradient from nothing to the neuron's own value, times that value, over
    all positions of a text. The sum over the layer is what the logit gains by it, but for the
    sum's error.

    Args:
        engine: The model.
        rows: The texts of each edit, ``[n_edits, n]``; A is the mean over them.
        labels: Whose logit, int64 ``[n_edits]``.
        layer: Index of the layer.
        n_steps: m, the terms of the sum.

    Returns:
        ``[n_edits, width]``, in units of the logit.

    Source:
        Dai et al., Knowledge Neurons (ACL 2022), equation 5, with the logit in the place of the
        probability.
    """
    backbone = engine.backbone
    outer = backbone.site(layer).down.weight
    name = next(n for n, own in backbone.ffn_parameters(layer).items() if own == "down.weight")
    total: Tensor = outer.new_zeros(len(labels), outer.shape[1])
    for step in range(1, n_steps + 1):
        shares = torch.full_like(total, step / n_steps).requires_grad_()
        scaled = WeightDeltas({name: (shares - 1)[:, None, :] * outer})
        logits = engine.logits(rows, scaled)
        chosen = logits.gather(-1, labels[:, None, None].expand(-1, logits.shape[1], 1))
        (gradient,) = torch.autograd.grad(chosen.mean(1).sum(), shares)
        total += gradient
    return total / n_steps
