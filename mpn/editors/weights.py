"""Weights of the model in training."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import torch
from torch import Size, Tensor

from mpn.backbones import Backbone
from mpn.changes import Change, WeightDeltas
from mpn.editors.output_training import DivergenceSettings, OutputTraining
from mpn.editors.reach import Reach
from mpn.editors.remaining import Remaining
from mpn.engines.protocol import Engine

RowsT = TypeVar("RowsT")
Layers = Literal["last", "all"] | list[int]


def reach_of_ffns(layers: Layers) -> Reach:
    """Return what is changed with the FFNs of some layers: one, or whatever is above the first."""
    if layers == "last":
        return Reach("last", changes="ffn")
    if isinstance(layers, list) and len(layers) == 1:
        return Reach(layers[0], changes="ffn")
    return Reach(0, changes="model")


def layer_indices(backbone: Backbone, layers: Layers) -> list[int]:
    """Return the layers that are meant, ascending.

    Raises:
        MpnInputError: If the model has no such layer.
    """
    if layers == "all":
        return list(range(backbone.n_layers))
    if layers == "last":
        return [backbone.n_layers - 1]
    return sorted({backbone.layer_index(layer, "editor.layers") for layer in layers})


class WeightTraining(OutputTraining[RowsT]):
    """Deltas of some weights, from zero."""

    def __init__(
        self, engine: Engine[RowsT], names: Sequence[str], divergence: DivergenceSettings | None
    ) -> None:
        """Choose what is trained.

        Args:
            engine: The model.
            names: Weights, by their names in the model.
            divergence: What is left alone; None: nothing.
        """
        super().__init__(engine, divergence)
        weights = dict(engine.backbone.model.named_parameters())
        self._shapes: Mapping[str, Size] = {name: weights[name].shape for name in names}

    def start(self, n_edits: int) -> Tensor:
        """Return the parameters of the base model, ``[n_edits, n]``: zeros."""
        n = sum(map(math.prod, self._shapes.values()))
        backbone = self.engine.backbone
        return torch.zeros(n_edits, n, device=backbone.device, dtype=backbone.dtype)

    def change(self, parameters: Tensor, remaining: Remaining[RowsT]) -> Change:
        """See :class:`mpn.editors.descent.Training`."""
        parts = torch.split(parameters, list(map(math.prod, self._shapes.values())), 1)
        pairs = zip(self._shapes.items(), parts, strict=True)
        return WeightDeltas({name: part.reshape(-1, *shape) for (name, shape), part in pairs})
