"""Queries of inputs that an edit must leave alone."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from mpn.changes import Change
from mpn.engines.protocol import Engine, products
from mpn.patches import Patches


@dataclass(frozen=True)
class MemoryTexts:
    """Texts to leave alone, as rows of an engine: what a term on the output reads.

    Attributes:
        rows: The engine's, on the models that are edited, ``[1 or n_models, n]``.
        reference: The base model's log-probabilities on them, ``[n, n_labels]``.
        models: Which of the models each edit changes, int64 on the CPU, ``[n_edits]``; None
            where there is only one.
    """

    rows: Any
    reference: Tensor
    models: Tensor | None = None

    def take(self, engine: Engine[Any], columns: Tensor) -> tuple[Any, Tensor]:
        """Return some of the rows, and what the base model says of them.

        Args:
            engine: Theirs.
            columns: Which, for each edit, int64 on the CPU, ``[n_edits, n]``.

        Returns:
            Rows ``[n_edits, n]``; log-probabilities ``[n_edits, n, n_labels]``.
        """
        models = self.models
        if models is None:
            models = torch.zeros(len(columns), dtype=torch.int64)
        rows = engine.take(self.rows, columns, models)
        return rows, self.reference[columns.to(self.reference.device)]

    def changed(self, engine: Engine[Any], change: Change) -> "MemoryTexts":
        """Return the same texts on models that are changed, ``[n_edits]``."""
        rows = engine.absorb(self.rows, change)
        return replace(self, rows=rows, models=torch.arange(len(change)))


@dataclass(frozen=True)
class MemoryBank:
    """Out-of-scope queries, a part of which is held out to decide when to stop; or their texts.

    Attributes:
        queries: What the memory loss trains on, ``[size, d_model]``.
        held_out: Other rows, by which the stop rule judges, ``[n, d_model]``; may be empty.
        past: Queries of earlier edits of each edit's own stream, ``[n_edits, n_past, d_model]``.
        kept: Which of ``past`` count, bool ``[n_edits, n_past]``.
        texts: Where an editor looks at the model's output.
    """

    queries: Tensor
    held_out: Tensor
    past: Tensor | None = None
    kept: Tensor | None = None
    texts: MemoryTexts | None = None

    @staticmethod
    def of(queries: Tensor, *, held_out_share: float) -> "MemoryBank":
        """Split rows that are already in random order.

        Args:
            queries: ``[n, d_model]``.
            held_out_share: Fraction of the rows held out, in ``[0, 1)``.
        """
        n_held_out = int(len(queries) * held_out_share)
        return MemoryBank(queries[n_held_out:], queries[:n_held_out])

    @staticmethod
    def none(d_model: int) -> "MemoryBank":
        """Return a bank of no rows."""
        return MemoryBank(torch.zeros(0, d_model), torch.zeros(0, d_model))

    def with_past(self, past: Tensor, kept: Tensor) -> "MemoryBank":
        """Return a bank that also has rows of past edits; see the attributes."""
        return replace(self, past=past, kept=kept)

    def of_edits(self, edits: Tensor) -> "MemoryBank":
        """Return the bank of some edits, by their indices."""
        bank, texts = self, self.texts
        if texts is not None and texts.models is not None:
            texts = replace(texts, models=texts.models[edits.cpu()])
            bank = replace(bank, texts=texts)
        if self.past is None or self.kept is None:
            return bank
        edits = edits.to(self.past.device)
        return replace(bank, past=self.past[edits], kept=self.kept[edits])

    def loudest(self, patches: Patches, top_k: int | None) -> Tensor:
        """Return the pre-activations of the rows on which neurons fire most.

        One matrix product over the shared rows serves all edits.

        Args:
            patches: Neurons of a batch of edits, ``[n_edits]``.
            top_k: How many rows; ``None``: all.

        Returns:
            ``[n_edits, n, n_patch]``, in no order; -inf where an edit has fewer rows than
            others. Differentiable in the patches.
        """
        found = _loudest(self.queries, patches.keys, top_k)
        if self.past is not None and self.kept is not None and self.past.shape[1]:
            own = products(self.past, patches.keys)
            own = own.masked_fill(~self.kept[..., None], -torch.inf)
            found = torch.cat([found, own], 1)
            if top_k is not None and top_k < found.shape[1]:
                found = found.topk(top_k, dim=1, sorted=False).values
        return found + patches.biases[:, None]

    def counts(self, n_edits: int) -> Tensor:
        """Return how many rows each edit has to leave alone, int64 ``[n_edits]``."""
        counts = torch.full((n_edits,), len(self.queries), device=self.queries.device)
        return counts if self.kept is None else counts + self.kept.sum(1)


def _loudest(rows: Tensor, keys: Tensor, top_k: int | None) -> Tensor:
    """Return the largest products of shared rows with each key, ``[n_edits, n, n_patch]``."""
    if top_k is None or top_k >= len(rows):
        return products(rows[None], keys)
    apply: Any = _LargestProducts.apply
    largest: Tensor = apply(rows, keys.flatten(0, 1), top_k)
    return largest.reshape(*keys.shape[:2], top_k).transpose(1, 2)


class _LargestProducts(torch.autograd.Function):
    """The largest products of rows with each key; backwards, only those rows are read again."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, keys: Tensor, top_k: int) -> Tensor:
        values, index = (keys @ rows.T).topk(top_k, dim=-1, sorted=False)
        ctx.save_for_backward(rows, index)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        rows, index = ctx.saved_tensors
        weights = gradients[0].contiguous()
        return None, embedding_bag(index, rows, per_sample_weights=weights, mode="sum"), None
