"""Two ways to the same numbers: the cached engine, and the plain full model as its oracle.

An engine loads texts into *rows*, from which it gives queries and patched logits. Rows have two
leading dimensions, ``[n_edits or 1, n]``, so that independent edits run side by side; patches
have one, ``[n_edits]``.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from mpn.backbones import Backbone
from mpn.edits import Text
from mpn.patches import Patches
from mpn.queries import QueryCache

Positions = Literal["all", "cls"]
RowsT = TypeVar("RowsT")
_ELEMENTS_AT_ONCE = 2**24


class Engine(Protocol[RowsT]):
    """What an editor and the metrics need of a model with a patch site.

    Contract: ``logits`` equals the full model's, with the patches' neurons added to the FFN of
    the site, up to rounding; it is differentiable in the patches. Nothing writes to the model.
    """

    backbone: Backbone
    layer: int

    def load(self, texts: Sequence[Text]) -> RowsT:
        """Return rows ``[1, n]`` of some texts."""
        ...

    def regroup(self, rows: RowsT, n_edits: int) -> RowsT:
        """Reshape ``[1, n_edits * n]`` to ``[n_edits, n]``."""
        ...

    def take(self, rows: RowsT, columns: Tensor, edits: Tensor) -> RowsT:
        """Pick ``rows[edits[i], columns[i, j]]``: ``[n_edits_taken, n_columns]``."""
        ...

    def queries(self, rows: RowsT) -> Tensor:
        """Return the FFN's inputs at [CLS], ``[n_edits, n, d_model]``."""
        ...

    def logits(self, rows: RowsT, patches: Patches | None = None) -> Tensor:
        """Return patched logits, ``[n_edits, n, n_labels]``."""
        ...

    def predictions(self, rows: RowsT, patches: Patches | None = None) -> Tensor:
        """Return predicted labels on the CPU, int64 ``[n_edits, n]``; in parts that fit."""
        ...

    def absorb(self, rows: RowsT, patches: Patches) -> RowsT:
        """Return rows on which one edit's patches (no leading dimension) are part of the model."""
        ...


@dataclass(frozen=True)
class CachedRows:
    """The states of some texts at a patch site.

    Attributes:
        queries: FFN inputs, ``[n_edits, n, n_positions, d_model]``.
        outputs: FFN outputs with absorbed patches, of the same shape.
        mask: Bool ``[n_edits, n, n_positions]``.
    """

    queries: Tensor
    outputs: Tensor
    mask: Tensor


class CachedEngine:
    """Runs only what a patch can change; everything below it comes from the query cache."""

    def __init__(
        self,
        backbone: Backbone,
        *,
        layer: int,
        positions: Positions = "all",
        cache: QueryCache,
    ) -> None:
        """Open a site.

        Args:
            backbone: The frozen model.
            layer: Index of the layer whose FFN is patched.
            positions: Where neurons act: at every position, or at [CLS] only. At the last layer
                both are the same function of the logits.
            cache: Where FFN inputs are kept.
        """
        self.backbone = backbone
        self.layer = layer
        self._positions = positions
        self._cache = cache

    def load(self, texts: Sequence[Text]) -> CachedRows:
        """See :class:`Engine`."""
        prefix = self._cache.prefix(self.backbone, texts, self.layer)
        with torch.no_grad():
            outputs = self.backbone.ffn(prefix.queries, self.layer)
        return CachedRows(prefix.queries[None], outputs[None], prefix.mask[None])

    def regroup(self, rows: CachedRows, n_edits: int) -> CachedRows:
        """See :class:`Engine`."""
        shape = (n_edits, rows.queries.shape[1] // n_edits)
        return CachedRows(
            rows.queries.reshape(*shape, *rows.queries.shape[2:]),
            rows.outputs.reshape(*shape, *rows.outputs.shape[2:]),
            rows.mask.reshape(*shape, -1),
        )

    def take(self, rows: CachedRows, columns: Tensor, edits: Tensor) -> CachedRows:
        """See :class:`Engine`."""
        index = (edits[:, None], columns)
        return CachedRows(rows.queries[index], rows.outputs[index], rows.mask[index])

    def queries(self, rows: CachedRows) -> Tensor:
        """See :class:`Engine`."""
        return rows.queries[:, :, 0]

    def logits(self, rows: CachedRows, patches: Patches | None = None) -> Tensor:
        """See :class:`Engine`."""
        outputs = rows.outputs if patches is None else self._patched(rows, patches)
        lead = outputs.shape[:2]
        logits = self.backbone.suffix(
            rows.queries.expand_as(outputs).flatten(0, 1),
            outputs.flatten(0, 1),
            rows.mask.expand(*lead, -1).flatten(0, 1),
            self.layer,
        )
        return logits.reshape(*lead, -1)

    @torch.no_grad()
    def predictions(self, rows: CachedRows, patches: Patches | None = None) -> Tensor:
        """See :class:`Engine`."""
        n_edits = max(rows.queries.shape[0], 1 if patches is None else len(patches.keys))
        n, per_row = rows.queries.shape[1], rows.queries[0, 0].numel()
        step = max(1, _ELEMENTS_AT_ONCE // (n_edits * per_row))
        parts = []
        for start in range(0, n, step):
            part = slice(start, start + step)
            piece = CachedRows(rows.queries[:, part], rows.outputs[:, part], rows.mask[:, part])
            parts.append(self.logits(piece, patches).argmax(-1).cpu())
        return torch.cat(parts, 1)

    @torch.no_grad()
    def absorb(self, rows: CachedRows, patches: Patches) -> CachedRows:
        """See :class:`Engine`."""
        return CachedRows(rows.queries, self._patched(rows, patches), rows.mask)

    def _patched(self, rows: CachedRows, patches: Patches) -> Tensor:
        """Return the FFN's outputs with the patches' contributions added."""
        n_positions = rows.queries.shape[2]
        acting = n_positions if self._positions == "all" else 1
        queries = rows.queries[:, :, :acting].flatten(1, 2)
        added = patches.contribution(queries, self.backbone.activation)
        added = added.reshape(added.shape[0], -1, acting, added.shape[-1])
        if acting == n_positions:
            return rows.outputs + added
        rest = rows.outputs[:, :, acting:].expand(added.shape[0], -1, -1, -1)
        return torch.cat([rows.outputs[:, :, :acting] + added, rest], 2)


@dataclass(frozen=True)
class FullRows:
    """Texts ``[n_edits][n]``, and the patches that are part of the model for them."""

    texts: tuple[tuple[Text, ...], ...]
    absorbed: tuple[Patches, ...] = ()


class FullEngine:
    """Runs the whole model for every row, with hooks that add the neurons: slow and plain."""

    def __init__(self, backbone: Backbone, *, layer: int, positions: Positions = "all") -> None:
        """Open a site; the arguments are those of :class:`CachedEngine`."""
        self.backbone = backbone
        self.layer = layer
        self._positions = positions

    def load(self, texts: Sequence[Text]) -> FullRows:
        """See :class:`Engine`."""
        return FullRows((tuple(texts),))

    def regroup(self, rows: FullRows, n_edits: int) -> FullRows:
        """See :class:`Engine`."""
        flat = rows.texts[0]
        n = len(flat) // n_edits
        groups = tuple(flat[i * n : (i + 1) * n] for i in range(n_edits))
        return FullRows(groups, rows.absorbed)

    def take(self, rows: FullRows, columns: Tensor, edits: Tensor) -> FullRows:
        """See :class:`Engine`."""
        picked = tuple(
            tuple(rows.texts[edit][column] for column in chosen)
            for edit, chosen in zip(edits.tolist(), columns.tolist(), strict=True)
        )
        return FullRows(picked, rows.absorbed)

    def queries(self, rows: FullRows) -> Tensor:
        """See :class:`Engine`."""
        with torch.no_grad(), _watched(self.backbone, self.layer) as seen:
            groups = []
            for texts in rows.texts:
                self.backbone.model(**self.backbone.tokenize(texts))
                groups.append(seen[-1][:, 0])
        return torch.stack(groups)

    def logits(self, rows: FullRows, patches: Patches | None = None) -> Tensor:
        """See :class:`Engine`."""
        n_edits = max(len(rows.texts), 1 if patches is None else len(patches.keys))
        groups = []
        for edit in range(n_edits):
            own = () if patches is None else (patches[edit],)
            texts = rows.texts[edit if len(rows.texts) > 1 else 0]
            with attached(self.backbone, self.layer, (*rows.absorbed, *own), self._positions):
                groups.append(self.backbone.model(**self.backbone.tokenize(texts)).logits)
        return torch.stack(groups)

    @torch.no_grad()
    def predictions(self, rows: FullRows, patches: Patches | None = None) -> Tensor:
        """See :class:`Engine`."""
        return self.logits(rows, patches).argmax(-1).cpu()

    def absorb(self, rows: FullRows, patches: Patches) -> FullRows:
        """See :class:`Engine`."""
        return FullRows(rows.texts, (*rows.absorbed, patches))


@contextmanager
def attached(
    backbone: Backbone, layer: int, patches: Sequence[Patches], positions: Positions = "all"
) -> Iterator[None]:
    """Within the context, the model answers as patched; its weights are never written.

    Args:
        backbone: The model.
        layer: Index of the patched layer.
        patches: Sets of neurons, all of which act.
        positions: Where they act.

    Yields:
        Nothing; the hooks are gone after the context, whatever happened in it.
    """
    with _watched(backbone, layer) as seen:

        def add_neurons(module: Any, inputs: Any, output: Tensor) -> Tensor:
            queries = seen[-1]
            for one in patches:
                added = one.contribution(queries, backbone.activation)
                if positions == "cls":
                    added = torch.cat([added[:, :1], torch.zeros_like(added[:, 1:])], 1)
                output = output + added
            return output

        hook = backbone.layer(layer).output.dense.register_forward_hook(add_neurons)
        try:
            yield
        finally:
            hook.remove()


@contextmanager
def _watched(backbone: Backbone, layer: int) -> Iterator[list[Tensor]]:
    """Collect the FFN's inputs of every forward pass within the context."""
    seen: list[Tensor] = []
    hook = backbone.layer(layer).intermediate.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0])
    )
    try:
        yield seen
    finally:
        hook.remove()
