"""Any layer: the prefix never runs again, only the changed layer and what stands above it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mpn.backbones import Backbone, Positions
from mpn.changes import Change
from mpn.edits import Text
from mpn.engines.dropout import DropoutSettings, dropped
from mpn.engines.effects import Effect
from mpn.queries import QueryCache
from mpn.warm import Warm

_TOKENS_AT_ONCE = {"cpu": 2**12, "cuda": 2**17}
_WARM_GIB = 2.0


@dataclass(frozen=True)
class TokenRows:
    """Where the states of some texts stand among packed tokens.

    Attributes:
        queries: FFN inputs of all tokens, ``[n_tokens, d_model]``.
        states: The frozen FFN's outputs plus its inputs, ``[n_tokens, d_model]``.
        starts: First token of each row, int64 on the CPU, ``[n_edits or 1, n]``.
        lengths: Tokens of each row, of the same shape.
        absorbed: What is part of the model, ``[n_edits or 1]``.
    """

    queries: Tensor
    states: Tensor
    starts: Tensor
    lengths: Tensor
    absorbed: Change | None = None


class SuffixEngine:
    """See :class:`mpn.engines.protocol.Engine`."""

    def __init__(
        self, backbone: Backbone, *, layer: int, positions: Positions, cache: QueryCache
    ) -> None:
        """Open a site.

        Args:
            backbone: The frozen model.
            layer: Index of the layer.
            positions: Where changes act: at every position, or at [CLS] only.
            cache: Where FFN inputs are kept.
        """
        self.backbone = backbone
        self.layer = layer
        self._positions = positions
        self._effect = Effect(backbone, layer)
        self._cache = cache
        self._warm: Warm[TokenRows] = Warm(
            _WARM_GIB, lambda rows: rows.queries.nbytes + rows.states.nbytes
        )

    def load(self, texts: Sequence[Text]) -> TokenRows:
        """See :class:`mpn.engines.protocol.Engine`."""
        return self._warm.get(tuple(texts), lambda: self._load(texts))

    def regroup(self, rows: TokenRows, n_edits: int) -> TokenRows:
        """See :class:`mpn.engines.protocol.Engine`."""
        starts, lengths = (t.reshape(n_edits, -1) for t in (rows.starts, rows.lengths))
        return replace(rows, starts=starts, lengths=lengths)

    def take(self, rows: TokenRows, columns: Tensor, edits: Tensor) -> TokenRows:
        """See :class:`mpn.engines.protocol.Engine`."""
        texts = edits if len(rows.starts) > 1 else torch.zeros_like(edits)
        index = (texts[:, None], columns)
        absorbed = rows.absorbed
        if absorbed is not None and len(absorbed) > 1:
            absorbed = absorbed.take(edits)
        return replace(
            rows, starts=rows.starts[index], lengths=rows.lengths[index], absorbed=absorbed
        )

    def views(
        self, rows: TokenRows, dropout: DropoutSettings, generators: Sequence[torch.Generator]
    ) -> TokenRows:
        """See :class:`mpn.engines.protocol.Engine`; what is absorbed is taken into the states."""
        lengths = rows.lengths.repeat(1, dropout.views)
        starts = rows.starts.repeat(1, dropout.views)
        queries, states = [], []
        for edit, pair in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
            index = torch.cat([torch.arange(s, s + n) for s, n in zip(*pair, strict=True)])
            index = index.to(rows.queries.device)
            own = rows.queries[index]
            queries.append(own)
            states.append(rows.states[index])
            if rows.absorbed is not None:
                of_edit = torch.tensor([edit if len(rows.absorbed) > 1 else 0])
                added = self._effect(rows.absorbed.take(of_edit), own[None])[0]
                if self._positions == "cls":
                    added[~torch.isin(index, starts[edit].to(index.device))] = 0
                states[-1] = states[-1] + added
        noisy = torch.cat(dropped(queries, dropout, generators, self.backbone))
        noise = noisy - torch.cat(queries)
        carried = torch.cat(states) + self.backbone.carried(noise, self.layer)
        ends = lengths.flatten().cumsum(0).reshape(lengths.shape)
        return TokenRows(noisy, carried, ends - lengths, lengths)

    def queries(self, rows: TokenRows) -> Tensor:
        """See :class:`mpn.engines.protocol.Engine`."""
        return rows.queries[rows.starts.to(rows.queries.device, non_blocking=True)]

    def token_queries(self, texts: Sequence[Text], positions: Positions) -> Tensor:
        """See :class:`mpn.engines.protocol.Engine`."""
        kept: Positions = "cls" if "cls" in (positions, self._positions) else "all"
        packed = self._cache.packed(self.backbone, texts, self.layer, kept)
        return self.backbone.queries(packed.inputs, self.layer)

    def logits(self, rows: TokenRows, change: Change | None = None) -> Tensor:
        """See :class:`mpn.engines.protocol.Engine`."""
        index = self._tokens(rows)
        queries, states = rows.queries[index], rows.states[index]
        if change is not None:
            rows = self.absorb(rows, change)
        if rows.absorbed is not None:
            states = self._changed(queries, states, rows.absorbed)
        n_edits, n, width = states.shape[:3]
        lengths = rows.lengths.to(queries.device, non_blocking=True)
        mask = torch.arange(width, device=queries.device) < lengths[..., None]
        logits = self.backbone.suffix(
            states.flatten(0, 1), mask.expand(n_edits, n, width).flatten(0, 1), self.layer
        )
        return logits.reshape(n_edits, n, -1)

    @torch.no_grad()
    def predictions(self, rows: TokenRows, change: Change | None = None) -> Tensor:
        """See :class:`mpn.engines.protocol.Engine`; rows of like length run together."""
        rows = rows if change is None else self.absorb(rows, change)
        n_edits = max(len(rows.starts), 1 if rows.absorbed is None else len(rows.absorbed))
        lengths = rows.lengths.amax(0)
        order = lengths.argsort(stable=True)
        budget = max(1, _TOKENS_AT_ONCE[self.backbone.device.type] // n_edits)
        found = []
        for part in _parts(lengths[order].tolist(), budget):
            columns = order[part]
            piece = replace(rows, starts=rows.starts[:, columns], lengths=rows.lengths[:, columns])
            found.append(self.logits(piece).argmax(-1))
        return torch.cat(found, 1).cpu()[:, order.argsort()]

    def absorb(self, rows: TokenRows, change: Change) -> TokenRows:
        """See :class:`mpn.engines.protocol.Engine`; beside the suffix, old neurons cost little."""
        both = change if rows.absorbed is None else rows.absorbed.then(change)
        return replace(rows, absorbed=both)

    @torch.no_grad()
    def _load(self, texts: Sequence[Text]) -> TokenRows:
        packed = self._cache.packed(self.backbone, texts, self.layer)
        queries = self.backbone.queries(packed.inputs, self.layer)
        states = self.backbone.states(packed.inputs, self.layer)
        return TokenRows(queries, states, packed.starts[None], packed.lengths[None])

    def _tokens(self, rows: TokenRows) -> Tensor:
        """Return where the tokens of each row stand, padded with its last, ``[..., width]``."""
        width = int(rows.lengths.max())
        offsets = torch.arange(width).minimum(rows.lengths[..., None] - 1)
        index = rows.starts[..., None] + offsets
        return index.to(rows.queries.device, non_blocking=True)

    def _changed(self, queries: Tensor, states: Tensor, change: Change) -> Tensor:
        """Add what a change adds, ``[n_edits, n, width, d_model]``."""
        acting = queries.shape[2] if self._positions == "all" else 1
        added = self._effect(change, queries[:, :, :acting].flatten(1, 2))
        added = added.reshape(len(added), -1, acting, added.shape[-1])
        if acting == queries.shape[2]:
            return states + added
        rest = states[:, :, acting:].expand(max(len(states), len(added)), -1, -1, -1)
        return torch.cat([states[:, :, :acting] + added, rest], 2)


def _parts(lengths: Sequence[int], budget: int) -> list[slice]:
    """Cut ascending lengths into runs whose padded tokens fit a budget, or of one row."""
    parts, first = [], 0
    for i, length in enumerate(lengths):
        if i > first and (i + 1 - first) * length > budget:
            parts.append(slice(first, i))
            first = i
    return [*parts, slice(first, len(lengths))]
