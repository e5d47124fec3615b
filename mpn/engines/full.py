"""The plain full model: slow, and the oracle of every faster way."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from mpn.backbones import Backbone, Positions
from mpn.backbones.backbone import dropouts
from mpn.changes import Change, WeightDeltas
from mpn.edits import Text
from mpn.engines.dropout import DropoutSettings, kept_shares
from mpn.patches import Patches

_TEXTS_AT_ONCE = 256
_NO_WEIGHTS: Mapping[str, Tensor] = {}


@dataclass(frozen=True)
class FullRows:
    """Texts, and what their model has beside its weights.

    Attributes:
        texts: ``[n_edits][n]``.
        absorbed: What is part of the model, each with a leading dimension of ``n_edits`` or 1.
        dropout_seeds: One for each edit: the model runs with dropout; none: without.
        dropout_rate: In all its dropouts; None: each has its own.
        shares: One for each edit: what the FFN's inputs are multiplied with, for the neurons and
            the residual; none: 1.
    """

    texts: tuple[tuple[Text, ...], ...]
    absorbed: tuple[Change, ...] = ()
    dropout_seeds: tuple[int, ...] = ()
    dropout_rate: float | None = None
    shares: tuple[Tensor, ...] = ()


class FullEngine:
    """Runs the whole model for every row: with hooks that add neurons, or with other weights."""

    def __init__(self, backbone: Backbone, *, layer: int, positions: Positions = "all") -> None:
        """Open a site.

        Args:
            backbone: The frozen model.
            layer: Index of the layer whose FFN gets neurons.
            positions: Where neurons act: at every position, or at [CLS] only.
        """
        self.backbone = backbone
        self.layer = layer
        self._positions = positions
        self._weights: dict[str, Tensor] = dict(backbone.model.named_parameters())
        self._last: tuple[FullRows, Tensor] | None = None  # rows under dropout, their queries

    def load(self, texts: Sequence[Text]) -> FullRows:
        """See :class:`mpn.engines.protocol.Engine`."""
        return FullRows((tuple(texts),))

    def regroup(self, rows: FullRows, n_edits: int) -> FullRows:
        """See :class:`mpn.engines.protocol.Engine`."""
        flat = [text for own in rows.texts for text in own]
        n = len(flat) // n_edits
        return FullRows(tuple(tuple(flat[i * n : (i + 1) * n]) for i in range(n_edits)))

    def take(self, rows: FullRows, columns: Tensor, edits: Tensor) -> FullRows:
        """See :class:`mpn.engines.protocol.Engine`."""
        picked = tuple(
            tuple(rows.texts[edit if len(rows.texts) > 1 else 0][column] for column in chosen)
            for edit, chosen in zip(edits.tolist(), columns.tolist(), strict=True)
        )
        absorbed = tuple(
            change if len(change) == 1 else change.take(edits) for change in rows.absorbed
        )
        return FullRows(picked, absorbed)

    def views(
        self, rows: FullRows, dropout: DropoutSettings, generators: Sequence[torch.Generator]
    ) -> FullRows:
        """See :class:`mpn.engines.protocol.Engine`."""
        rate = dropout.rate_on(self.backbone)
        texts = tuple(own * dropout.views for own in rows.texts)
        if dropout.on == "query":
            pairs = zip(texts, generators, strict=True)
            return replace(rows, texts=texts, shares=tuple(self._shares(*p, rate) for p in pairs))
        seeds = tuple(int(torch.randint(2**62, (), generator=g)) for g in generators)
        return replace(rows, texts=texts, dropout_seeds=seeds, dropout_rate=dropout.rate)

    def _shares(self, texts: Sequence[Text], generator: torch.Generator, rate: float) -> Tensor:
        """Return what queries under dropout are multiplied with, ``[n, n_positions, d_model]``."""
        mask = self.backbone.tokenize(texts)["attention_mask"].bool()
        if self.backbone.reads_cls_only(self.layer):
            mask[:, 1:] = False  # where nothing reads them
        d_model = self.backbone.d_model
        shares = torch.ones(*mask.shape, d_model, dtype=self.backbone.dtype, device=mask.device)
        shares[mask] = kept_shares((int(mask.sum()), d_model), rate, generator, shares)
        return shares

    def queries(self, rows: FullRows) -> Tensor:
        """See :class:`mpn.engines.protocol.Engine`."""
        if self._last is not None and self._last[0] is rows:
            return self._last[1]
        groups = []
        with torch.no_grad(), watched(self.backbone, self.layer) as seen:
            for edit in range(len(rows.texts)):
                self._logits(rows, edit)
                queries = seen.pop()
                groups.append((queries * rows.shares[edit] if rows.shares else queries)[:, 0])
        return torch.stack(groups)

    def token_queries(self, texts: Sequence[Text], positions: Positions) -> Tensor:
        """See :class:`mpn.engines.protocol.Engine`."""
        found = []
        with torch.no_grad(), watched(self.backbone, self.layer) as seen:
            for text in texts:
                self.backbone.model(**self.backbone.tokenize([text]))
                found.append(seen.pop()[0])
        if self.backbone.reads_cls_only(self.layer) or "cls" in (positions, self._positions):
            found = [queries[:1] for queries in found]
        return torch.cat(found)

    def logits(self, rows: FullRows, change: Change | None = None) -> Tensor:
        """See :class:`mpn.engines.protocol.Engine`."""
        new = () if change is None else (change,)
        n_edits = max([len(rows.texts), *map(len, (*rows.absorbed, *new))])
        groups, queries = [], []
        for edit in range(n_edits):
            old, own = ([_of_edit(c, edit) for c in some] for some in (rows.absorbed, new))
            shares = rows.shares[edit] if rows.shares else None
            with attached(
                self.backbone,
                self.layer,
                [c for c in own if isinstance(c, Patches)],
                self._positions,
                absorbed=[c for c in old if isinstance(c, Patches)],
                shares=shares,
            ) as seen:
                weights = self._changed(c for c in (*old, *own) if isinstance(c, WeightDeltas))
                groups.append(self._logits(rows, edit if len(rows.texts) > 1 else 0, weights))
                queries.append(seen.pop()[:, 0])
        self._last = (rows, torch.stack(queries)) if rows.dropout_seeds else None
        return torch.stack(groups)

    @torch.no_grad()
    def predictions(self, rows: FullRows, change: Change | None = None) -> Tensor:
        """See :class:`mpn.engines.protocol.Engine`."""
        n = len(rows.texts[0])
        parts = []
        for start in range(0, n, _TEXTS_AT_ONCE):
            texts = tuple(own[start : start + _TEXTS_AT_ONCE] for own in rows.texts)
            parts.append(self.logits(replace(rows, texts=texts), change).argmax(-1))
        return torch.cat(parts, 1).cpu()

    def absorb(self, rows: FullRows, change: Change) -> FullRows:
        """See :class:`mpn.engines.protocol.Engine`."""
        before = rows.absorbed
        if before and isinstance(change, WeightDeltas) and isinstance(before[-1], WeightDeltas):
            return replace(rows, absorbed=(*before[:-1], before[-1].then(change)))
        return replace(rows, absorbed=(*before, change))

    def _changed(self, changes: Iterable[WeightDeltas]) -> dict[str, Tensor]:
        """Return the weights that are not the base model's."""
        weights: dict[str, Tensor] = {}
        for change in changes:
            for name, delta in change.deltas.items():
                weight = weights[name] if name in weights else self._weights[name]
                weights[name] = weight + delta
        return weights

    def _logits(
        self, rows: FullRows, edit: int, weights: Mapping[str, Tensor] = _NO_WEIGHTS
    ) -> Tensor:
        """Run the model on the texts of one edit, with some weights in the place of its own."""
        inputs = self.backbone.tokenize(rows.texts[edit])
        if not rows.dropout_seeds:
            return _logits_of(self.backbone, inputs, weights)
        device = self.backbone.device
        # The model's dropout draws from torch's global generator, which is left as it was.
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(rows.dropout_seeds[edit])  # noqa: TID251
            with _dropping_out(self.backbone, rows.dropout_rate):
                return _logits_of(self.backbone, inputs, weights)


def _of_edit(change: Change, edit: int) -> Change:
    """Return one change out of several, without the leading dimension."""
    return change.mapped(lambda tensor: tensor[edit if len(tensor) > 1 else 0])


def _logits_of(
    backbone: Backbone, inputs: dict[str, Tensor], weights: Mapping[str, Tensor]
) -> Tensor:
    logits: Tensor = functional_call(backbone.model, dict(weights), kwargs=inputs).logits
    return logits


@contextmanager
def _dropping_out(backbone: Backbone, rate: float | None) -> Iterator[None]:
    """Within the context, the model's dropouts are active, at their own rates or at one."""
    places = dropouts(backbone.model)
    own = [getattr(*place) for place in places]
    backbone.model.train()
    try:
        for module, name in places if rate is not None else ():
            setattr(module, name, rate)
        yield
    finally:
        for (module, name), before in zip(places, own, strict=True):
            setattr(module, name, before)
        backbone.model.eval()


@contextmanager
def attached(
    backbone: Backbone,
    layer: int,
    patches: Sequence[Patches],
    positions: Positions = "all",
    *,
    absorbed: Sequence[Patches] = (),
    shares: Tensor | None = None,
) -> Iterator[list[Tensor]]:
    """Within the context, the model answers as patched; its weights are never written.

    Args:
        backbone: The model.
        layer: Index of the patched layer.
        patches: Sets of neurons without a leading dimension, all of which act.
        positions: Where they act.
        absorbed: Sets of neurons that are part of the FFN already.
        shares: What the queries are multiplied with, for the patches, and for the residual where
            that is the queries, but not for the FFN itself, ``[n, n_positions, d_model]``; None: 1.

    Yields:
        The FFN's inputs of the forward passes; the hooks are gone after the context, whatever
        happened in it.
    """
    site = backbone.site(layer)
    with watched(backbone, layer) as seen:

        def add_neurons(module: Any, inputs: Any, output: Tensor) -> Tensor:
            queries = noisy = seen[-1]
            if shares is not None:
                noisy = queries * shares
                output = output + backbone.carried(noisy - queries, layer)
            for one, read in [*((p, queries) for p in absorbed), *((p, noisy) for p in patches)]:
                added = one.contribution(read, backbone.activation)
                if positions == "cls":
                    added = torch.cat([added[:, :1], torch.zeros_like(added[:, 1:])], 1)
                output = output + added
            return output

        hook = site.down.register_forward_hook(add_neurons)
        try:
            yield seen
        finally:
            hook.remove()


@contextmanager
def watched(backbone: Backbone, layer: int) -> Iterator[list[Tensor]]:
    """Collect the queries of every forward pass within the context."""
    seen: list[Tensor] = []
    hook = backbone.site(layer).up.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0])
    )
    try:
        yield seen
    finally:
        hook.remove()
