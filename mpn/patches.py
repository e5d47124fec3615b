"""Patch neurons: what an edit adds to a feed-forward layer, and how it is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from safetensors.torch import save
from torch import Tensor

from mpn.errors import ShapeError

Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Patches:
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
        return Patches(self.keys[edit], self.biases[edit], self.values[edit])

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return keys, biases and values, for what is done to each."""
        return self.keys, self.biases, self.values

    def put(self, edits: Tensor, patches: "Patches") -> None:
        """Write sets of neurons at some indices of the leading dimension, in place."""
        for target, source in zip(self.tensors(), patches.tensors(), strict=True):
            target[edits.to(target.device)] = source

    def take(self, edits: Tensor) -> "Patches":
        """Return the sets of neurons at some indices of the leading dimension."""
        return Patches(*(t[edits] for t in self.tensors()))

    def detach(self) -> "Patches":
        """Return the same neurons, of no graph."""
        return Patches(*(t.detach() for t in self.tensors()))

    def to(self, device: torch.device | str) -> "Patches":
        """Return the same neurons on a device."""
        return Patches(*(t.to(device) for t in self.tensors()))

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

    def to_bytes(self, metadata: Mapping[str, str] | None = None) -> bytes:
        """Serialise as safetensors, with ``metadata`` in the header."""
        tensors = {"keys": self.keys, "biases": self.biases, "values": self.values}
        tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        data: bytes = save(tensors, None if metadata is None else dict(metadata))
        return data
