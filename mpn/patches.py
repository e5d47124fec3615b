"""Patch neurons: what an edit adds to a feed-forward layer, and how it is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from mpn.changes import Change
from mpn.errors import ShapeError

Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Patches(Change):
    """Neurons beside a frozen feed-forward layer: ``FFN(q) + sum_i act(q . k_i + b_i) v_i``.

    With leading dimensions, several independent sets of neurons (one an edit) in one object.

    Attributes:
        keys: ``[..., n_patch, d_model]``.
        biases: ``[..., n_patch]``.
        values: ``[..., n_patch, d_model]``.
    """

    keys: Tensor
    biases: Tensor
    values: Tensor

    def __post_init__(self) -> None:
        """Check that the three tensors speak of the same neurons.

        Raises:
            ShapeError: If they do not.
        """
        if self.keys.shape != self.values.shape or self.keys.shape[:-1] != self.biases.shape:
            raise ShapeError(
                "Patches",
                f"keys {tuple(self.keys.shape)}, biases {tuple(self.biases.shape)}, "
                f"values {tuple(self.values.shape)}",
                "keys and values are [..., n_patch, d_model], biases [..., n_patch]",
            )

    @property
    def n_patch(self) -> int:
        """Number of neurons of one set."""
        return self.keys.shape[-2]

    def pre_activations(self, queries: Tensor) -> Tensor:
        """Return ``q . k + b``.

        Args:
            queries: ``[..., n, d_model]``; leading dimensions broadcast with the patches'.

        Returns:
            ``[..., n, n_patch]``.
        """
        return queries @ self.keys.transpose(-1, -2) + self.biases[..., None, :]

    def contribution(self, queries: Tensor, activation: Activation) -> Tensor:
        """Return what the neurons add to the layer's output, ``[..., n, d_model]``."""
        return activation(self.pre_activations(queries)) @ self.values

    def __getitem__(self, edit: int) -> "Patches":
        """Return one set of neurons out of several."""
        return self.mapped(lambda tensor: tensor[edit])

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """See :class:`mpn.changes.Change`."""
        return cls(**tensors)

    def named(self) -> dict[str, Tensor]:
        """See :class:`mpn.changes.Change`."""
        return {"keys": self.keys, "biases": self.biases, "values": self.values}

    def then(self, later: "Patches") -> "Patches":
        """See :class:`mpn.changes.Change`: the neurons of both, in order."""
        n = max(len(self), len(later))
        return Patches.concatenate([p if len(p) == n else p.repeated(n) for p in (self, later)])

    def steps(self, n: int) -> "Sequence[Patches]":
        """See :class:`mpn.changes.Change`."""
        neurons = torch.arange(self.n_patch).chunk(n)
        return [
            Patches(self.keys[..., own, :], self.biases[..., own], self.values[..., own, :])
            for own in neurons
        ]

    def repeated(self, n: int) -> "Patches":
        """Return the only set of neurons ``n`` times."""
        return self.take(torch.zeros(n, dtype=torch.int64))

    def padded(self, n_patch: int) -> "Patches":
        """Return the same neurons and such that do nothing, ``n_patch`` together."""
        missing = n_patch - self.n_patch
        nothing = self.keys.new_zeros(*self.keys.shape[:-2], missing, self.keys.shape[-1])
        return Patches.concatenate([self, Patches(nothing, nothing[..., 0], nothing)])

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return keys, biases and values, for what is done to each."""
        return self.keys, self.biases, self.values

    @staticmethod
    def concatenate(patches: Sequence["Patches"]) -> "Patches":
        """Join sets with the same leading dimensions into one, in order."""
        return Patches(
            torch.cat([p.keys for p in patches], -2),
            torch.cat([p.biases for p in patches], -1),
            torch.cat([p.values for p in patches], -2),
        )

    @staticmethod
    def empty(d_model: int, *, dtype: torch.dtype = torch.float32) -> "Patches":
        """Return a set of no neurons."""
        rows = torch.zeros(0, d_model, dtype=dtype)
        return Patches(rows, torch.zeros(0, dtype=dtype), rows)
