"""Weights of the model in training: what fine-tuning editors have in common."""

import math
from collections.abc import Mapping, Sequence
from typing import Generic, Literal, TypeVar

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Size, Tensor

from mpn.backbones import Backbone
from mpn.changes import Change, WeightDeltas
from mpn.editors.reach import Remembers
from mpn.editors.remaining import Remaining
from mpn.engines.protocol import Engine
from mpn.losses import divergence_loss, edit_loss
from mpn.settings import Settings

RowsT = TypeVar("RowsT")
Layers = Literal["last", "all"] | list[int]


class DivergenceSettings(Settings):
    """Keep what the model says of other texts, :func:`mpn.losses.divergence_loss`.

    Attributes:
        weight: The loss's weight.
        size: Texts that are drawn from, over all languages.
        rows: Texts that are drawn anew at each step.
    """

    weight: NonNegativeFloat = 1.0
    size: PositiveInt = 1000
    rows: PositiveInt = 32

    @property
    def remembers(self) -> Remembers:
        """What is to be left alone."""
        return Remembers(self.size, "texts")


def layer_indices(backbone: Backbone, layers: Layers) -> list[int]:
    """Return the layers that are meant, ascending.

    Raises:
        MpnInputError: If the model has no such layer.
    """
    if layers == "all":
        return list(range(backbone.n_layers))
    if layers == "last":
        return [backbone.n_layers - 1]
    return sorted({backbone.layer_index(layer) for layer in layers})


class WeightTraining(Generic[RowsT]):
    """Deltas of some weights, from zero; see :class:`mpn.editors.descent.Training`."""

    def __init__(
        self, engine: Engine[RowsT], names: Sequence[str], divergence: DivergenceSettings | None
    ) -> None:
        """Choose what is trained.

        Args:
            engine: The model.
            names: Weights, by their names in the model.
            divergence: What is left alone; None: nothing.
        """
        self._engine, self._divergence = engine, divergence
        weights = dict(engine.backbone.model.named_parameters())
        self._shapes: Mapping[str, Size] = {name: weights[name].shape for name in names}

    def start(self, n_edits: int) -> Tensor:
        """Return the parameters of the base model, ``[n_edits, n]``: zeros."""
        n = sum(map(math.prod, self._shapes.values()))
        backbone = self._engine.backbone
        return torch.zeros(n_edits, n, device=backbone.device, dtype=backbone.dtype)

    def change(self, parameters: Tensor, remaining: Remaining[RowsT]) -> Change:
        """See :class:`mpn.editors.descent.Training`."""
        parts = torch.split(parameters, [math.prod(shape) for shape in self._shapes.values()], 1)
        pairs = zip(self._shapes.items(), parts, strict=True)
        return WeightDeltas({name: part.reshape(-1, *shape) for (name, shape), part in pairs})

    def losses(self, remaining: Remaining[RowsT], change: Change) -> Tensor:
        """See :class:`mpn.editors.descent.Training`."""
        losses = edit_loss(self._engine.logits(remaining.rows, change), remaining.labels)
        if self._divergence is None:
            return losses
        rows, reference = remaining.remembered(self._divergence.rows)
        kept = divergence_loss(self._engine.logits(rows, change), reference)
        return losses + self._divergence.weight * kept

    def held_out_losses(self, remaining: Remaining[RowsT], change: Change) -> Tensor:
        """See :class:`mpn.editors.descent.Training`: an edit stops as soon as it is right."""
        return torch.zeros_like(remaining.held_out)

    def is_hopeless(
        self, remaining: Remaining[RowsT], change: Change, n_steps: int
    ) -> Tensor | None:
        """See :class:`mpn.editors.descent.Training`: any text can be told from others."""
        return None
