"""Queries of inputs that an edit must leave alone."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class MemoryBank:
    """Out-of-scope queries, a part of which is held out to decide when to stop.

    Attributes:
        queries: What the memory loss trains on, ``[size, d_model]``.
        held_out: Other rows, by which the stop rule judges, ``[n, d_model]``; may be empty.
    """

    queries: Tensor
    held_out: Tensor

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

    @property
    def size(self) -> int:
        """Number of rows trained on."""
        return len(self.queries)

    def extended(self, queries: Tensor) -> "MemoryBank":
        """Return a bank that also keeps past edits' queries, ``[n, d_model]``, as they are."""
        if not len(queries):
            return self
        return MemoryBank(torch.cat([self.queries, queries]), self.held_out)
