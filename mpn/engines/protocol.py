"""What an editor and the metrics need of a model that is changed."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from mpn.backbones import Backbone, Positions
from mpn.changes import Change
from mpn.edits import Text
from mpn.engines.dropout import DropoutSettings

RowsT = TypeVar("RowsT")


class Engine(Protocol[RowsT]):
    """A model, read at one FFN and changed there, or anywhere.

    Texts are loaded into *rows*, from which an engine gives queries and the changed model's
    logits. Rows have two leading dimensions, ``[n_edits or 1, n]``, so that independent edits run
    side by side; changes have one, ``[n_edits or 1]``.

    Contract: ``logits`` equals the full model's, with neurons added to the FFN of the site or
    deltas to its weights, up to rounding; it is differentiable in the change. Nothing writes to
    the model.

    Attributes:
        layer: Index of the layer at whose FFN the model is read; what is below is as it was.
    """

    backbone: Backbone
    layer: int

    def load(self, texts: Sequence[Text]) -> RowsT:
        """Return rows ``[1, n]`` of some texts."""
        ...

    def regroup(self, rows: RowsT, n_edits: int) -> RowsT:
        """Reshape rows without absorbed changes to ``[n_edits, n]``, in the same order."""
        ...

    def take(self, rows: RowsT, columns: Tensor, edits: Tensor) -> RowsT:
        """Pick ``rows[edits[i], columns[i, j]]``: ``[n_edits_taken, n_columns]``.

        Of texts that are the same on several changed models, ``edits`` says which model.

        Both are index tensors on the CPU, whatever the device, so that nothing waits for it.
        """
        ...

    def views(
        self, rows: RowsT, dropout: DropoutSettings, generators: Sequence[torch.Generator]
    ) -> RowsT:
        """Repeat all rows under dropout, ``[n_edits, n_views * n]``.

        Args:
            rows: Rows ``[n_edits, n]``.
            dropout: How many views, of what.
            generators: One on the CPU for each edit, so that its views do not depend on what
                it is batched with.

        Raises:
            MpnInputError: If the engine has no such dropout.
        """
        ...

    def queries(self, rows: RowsT) -> Tensor:
        """Return the FFN's inputs at [CLS], ``[n_edits, n, d_model]``."""
        ...

    def token_queries(self, texts: Sequence[Text], positions: Positions) -> Tensor:
        """Return the FFN's inputs of texts one after another, ``[n_tokens, d_model]``.

        Args:
            texts: The texts.
            positions: ``cls``: one row a text; ``all``: one for each position at which a neuron
                can change the logits.
        """
        ...

    def logits(self, rows: RowsT, change: Change | None = None) -> Tensor:
        """Return the changed model's logits, ``[n_edits, n, n_labels]``."""
        ...

    def predictions(self, rows: RowsT, change: Change | None = None) -> Tensor:
        """Return predicted labels on the CPU, int64 ``[n_edits, n]``; in parts that fit."""
        ...

    def absorb(self, rows: RowsT, change: Change) -> RowsT:
        """Return rows on which a change is part of the model: ``[n_edits or 1]`` on either."""
        ...


def products(rows: Tensor, vectors: Tensor) -> Tensor:
    """Return inner products of rows and vectors, as one matrix product where rows are shared.

    Args:
        rows: ``[n_edits or 1, n, d_model]``.
        vectors: ``[n_edits or 1, n_patch, d_model]``.

    Returns:
        ``[n_edits, n, n_patch]``.
    """
    if len(rows) > 1 or len(vectors) == 1:
        return rows @ vectors.transpose(-1, -2)
    n_edits, n_patch, d_model = vectors.shape
    flat = vectors.reshape(-1, d_model) @ rows[0].T
    return flat.reshape(n_edits, n_patch, -1).transpose(1, 2)
