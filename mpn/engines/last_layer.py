"""The last layer: only [CLS] matters, and the layer norm and the head's first map fold into one.

Above the last FFN stand its residual, a layer norm and the head, which begins with a linear map
W. With ``h`` the FFN's output plus residual, ``C`` the projection that takes a row's mean away
and ``A = W diag(gamma) C``, the head's first map gives

    W LN(h) + c = A h / sqrt(|C h|² / d + eps) + W beta + c

so that a row needs ``C h`` and ``A h`` once, and a neuron that adds ``s v`` to ``h`` changes them
to ``C h + s C v`` and ``A h + s A v``. An evaluation costs a few numbers per row and neuron
instead of a matrix product, and a neuron is absorbed by adding its term, however many came before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mpn.backbones import Backbone, Positions
from mpn.edits import Text
from mpn.engines.dropout import DropoutSettings, dropped
from mpn.engines.protocol import products
from mpn.patches import Patches
from mpn.queries import QueryCache
from mpn.warm import Warm

_ELEMENTS_AT_ONCE = {"cpu": 2**18, "cuda": 2**27}  # on the CPU, what its second-level cache holds
_WARM_GIB = 2.0


@dataclass(frozen=True)
class ClsRows:
    """The states of some texts at [CLS] of the last layer, ``[n_edits or 1, n, ...]``.

    Attributes:
        queries: FFN inputs, ``[..., d_model]``.
        states: The FFN's outputs with absorbed patches, plus its inputs, less each row's mean,
            ``[..., d_model]``.
        dense: What the head's first map makes of ``states``, before the norm's division,
            ``[..., d_dense]``.
        variances: Mean square of ``states``, ``[...]``.
    """

    queries: Tensor
    states: Tensor
    dense: Tensor
    variances: Tensor

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the four, for what is done to each."""
        return self.queries, self.states, self.dense, self.variances


class LastLayerEngine:
    """See :class:`mpn.engines.protocol.Engine`; neurons at other positions change nothing."""

    def __init__(self, backbone: Backbone, cache: QueryCache) -> None:
        """Open the last layer.

        Args:
            backbone: The frozen model.
            cache: Where FFN inputs are kept.
        """
        self.backbone = backbone
        self.layer = backbone.n_layers - 1
        self._cache = cache
        self._warm: Warm[ClsRows] = Warm(
            _WARM_GIB, lambda rows: sum(t.nbytes for t in rows.tensors())
        )
        head = backbone.head
        assert head is not None, "another engine is for heads that read every position"
        norm, dense, self._finish = backbone.last_norm, head.dense, head.finish
        with torch.no_grad():
            scaled = dense.weight * norm.weight
            self._map = scaled - scaled.mean(1, keepdim=True)
            self._offset = torch.zeros_like(self._map[:, 0])
            if norm.bias is not None:
                self._offset += dense.weight @ norm.bias
            if dense.bias is not None:
                self._offset += dense.bias
        self._epsilon = norm.eps

    def load(self, texts: Sequence[Text]) -> ClsRows:
        """See :class:`mpn.engines.protocol.Engine`."""
        return self._warm.get(tuple(texts), lambda: self._load(texts))

    def regroup(self, rows: ClsRows, n_edits: int) -> ClsRows:
        """See :class:`mpn.engines.protocol.Engine`."""
        n = rows.variances.numel() // n_edits
        return ClsRows(*(t.reshape(n_edits, n, *t.shape[2:]) for t in rows.tensors()))

    def take(self, rows: ClsRows, columns: Tensor, edits: Tensor) -> ClsRows:
        """See :class:`mpn.engines.protocol.Engine`."""
        device = self.backbone.device
        own = edits.to(device, non_blocking=True)[:, None]
        columns = columns.to(device, non_blocking=True)
        shared = torch.zeros_like(own)  # queries, on which absorbed neurons change nothing
        return ClsRows(*(t[own if len(t) > 1 else shared, columns] for t in rows.tensors()))

    def views(
        self, rows: ClsRows, dropout: DropoutSettings, generators: Sequence[torch.Generator]
    ) -> ClsRows:
        """See :class:`mpn.engines.protocol.Engine`."""
        queries = rows.queries.repeat(1, dropout.views, 1)
        noisy = torch.stack(dropped(list(queries), dropout, generators, self.backbone))
        carried = self.backbone.carried(noisy - queries, self.layer)
        return self._rows(noisy, rows.states.repeat(1, dropout.views, 1) + carried)

    def queries(self, rows: ClsRows) -> Tensor:
        """See :class:`mpn.engines.protocol.Engine`."""
        return rows.queries

    def token_queries(self, texts: Sequence[Text], positions: Positions) -> Tensor:
        """See :class:`mpn.engines.protocol.Engine`."""
        packed = self._cache.packed(self.backbone, texts, self.layer)
        return self.backbone.queries(packed.inputs, self.layer)

    def logits(self, rows: ClsRows, patches: Patches | None = None) -> Tensor:
        """See :class:`mpn.engines.protocol.Engine`."""
        dense, variances = rows.dense, rows.variances
        if patches is not None:
            values, fired = _centred(patches.values), self._fired(rows, patches)
            dense = dense + fired @ (values @ self._map.T)
            spread = 2 * products(rows.states, values) + fired @ (values @ values.mT)
            variances = variances + (fired * spread).sum(-1) / values.shape[-1]
        scale = (variances.clamp_min(0) + self._epsilon).rsqrt()
        return self._finish(dense * scale[..., None] + self._offset)

    @torch.no_grad()
    def predictions(self, rows: ClsRows, patches: Patches | None = None) -> Tensor:
        """See :class:`mpn.engines.protocol.Engine`."""
        n_edits = max(len(rows.dense), 1 if patches is None else len(patches.keys))
        n, width = rows.dense.shape[1:]
        step = max(1, _ELEMENTS_AT_ONCE[rows.dense.device.type] // (n_edits * width))
        parts = []
        for start in range(0, n, step):
            part = ClsRows(*(t[:, start : start + step] for t in rows.tensors()))
            parts.append(self.logits(part, patches).argmax(-1))
        return torch.cat(parts, 1).cpu()

    @torch.no_grad()
    def absorb(self, rows: ClsRows, patches: Patches) -> ClsRows:
        """See :class:`mpn.engines.protocol.Engine`."""
        values, fired = _centred(patches.values), self._fired(rows, patches)
        states = rows.states + fired @ values
        dense = rows.dense + fired @ (values @ self._map.T)
        return ClsRows(rows.queries, states, dense, _mean_square(states))

    def _fired(self, rows: ClsRows, patches: Patches) -> Tensor:
        """Return what each neuron's value is multiplied with, ``[n_edits, n, n_patch]``."""
        return self.backbone.activation(
            products(rows.queries, patches.keys) + patches.biases[:, None]
        )

    @torch.no_grad()
    def _load(self, texts: Sequence[Text]) -> ClsRows:
        inputs = self._cache.packed(self.backbone, texts, self.layer).inputs[None]
        queries = self.backbone.queries(inputs, self.layer)
        return self._rows(queries, self.backbone.states(inputs, self.layer))

    @torch.no_grad()
    def _rows(self, queries: Tensor, states: Tensor) -> ClsRows:
        states = _centred(states)
        return ClsRows(queries, states, states @ self._map.T, _mean_square(states))


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(-1, keepdim=True)


def _mean_square(rows: Tensor) -> Tensor:
    return rows.square().mean(-1)
