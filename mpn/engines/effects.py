"""What a change adds to the output of one feed-forward layer."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mpn.backbones import Backbone
from mpn.changes import Change, WeightDeltas
from mpn.patches import Patches


class Effect:
    """Neurons add their own output; changed weights the difference that they make."""

    def __init__(self, backbone: Backbone, layer: int) -> None:
        """Look at one feed-forward layer."""
        self._site = backbone.site(layer)
        self._names = backbone.ffn_parameters(layer)

    def __call__(self, change: Change, queries: Tensor) -> Tensor:
        """Return what is added, ``[n_edits, n, d_model]``; differentiable in the change.

        Args:
            change: Neurons, or deltas of this layer's own weights, ``[n_edits or 1]``.
            queries: What the layer reads, ``[n_edits or 1, n, d_model]``.
        """
        if isinstance(change, Patches):
            return change.contribution(queries, self._site.activation)
        assert isinstance(change, WeightDeltas)
        deltas = {self._names[name]: delta for name, delta in change.deltas.items()}
        return self._changed(queries, deltas) - self._site(queries)

    def _changed(self, queries: Tensor, deltas: Mapping[str, Tensor]) -> Tensor:
        hidden = _linear(self._site.up, "up", queries, deltas)
        hidden = self._site.between(hidden)
        return _linear(self._site.down, "down", hidden, deltas)


def _linear(module: Any, name: str, rows: Tensor, deltas: Mapping[str, Tensor]) -> Tensor:
    """Apply a linear map with deltas on its weights, ``[n_edits or 1, n, d_out]``."""
    output: Tensor = module(rows)
    if f"{name}.weight" in deltas:
        output = output + rows @ deltas[f"{name}.weight"].mT
    if f"{name}.bias" in deltas:
        output = output + deltas[f"{name}.bias"][:, None]
    return output
