"""What an edit does to a model, kept apart from it: added, taken back and saved by one means."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from safetensors.torch import save
from torch import Tensor


class Change(ABC):
    """Tensors that turn a base model into an edited one, which itself is never written.

    With a leading dimension, several independent changes (one an edit) in one object. To revert
    an edit is to leave its change out.
    """

    @classmethod
    @abstractmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Return the change that tensors are, named as :meth:`named` does."""

    @abstractmethod
    def named(self) -> dict[str, Tensor]:
        """Return the tensors by name."""

    @abstractmethod
    def then(self, later: Self) -> Self:
        """Return the change that is this one followed by another.

        Args:
            later: With as many leading changes, or one of both has only one.
        """

    @abstractmethod
    def steps(self, n: int) -> Sequence[Self]:
        """Return changes that, absorbed in order, are this one of ``n`` equal steps.

        Absorbing them gives the same numbers, to the last bit, as absorbing what was joined.
        """

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Return a change of what a function makes of each tensor."""
        return self.of({name: function(t) for name, t in self.named().items()})

    def take(self, edits: Tensor) -> Self:
        """Return the changes at some indices of the leading dimension."""
        return self.mapped(lambda tensor: tensor[edits.to(tensor.device)])

    def put(self, edits: Tensor, other: Self) -> None:
        """Write changes at some indices of the leading dimension, in place."""
        theirs = other.named()
        for name, tensor in self.named().items():
            tensor[edits.to(tensor.device)] = theirs[name]

    def spread(self, n: int, edits: Tensor) -> Self:
        """Return ``n`` changes: these at some indices, and such that change nothing elsewhere."""
        wide = self.mapped(lambda tensor: tensor.new_zeros(n, *tensor.shape[1:]))
        wide.put(edits, self)
        return wide

    def detach(self) -> Self:
        """Return the same change, of no graph."""
        return self.mapped(Tensor.detach)

    def to(self, device: torch.device | str) -> Self:
        """Return the same change on a device."""
        return self.mapped(lambda tensor: tensor.to(device))

    def to_bytes(self, metadata: Mapping[str, str] | None = None) -> bytes:
        """Serialise as safetensors, with ``metadata`` in the header."""
        tensors = {name: t.detach().cpu().contiguous() for name, t in self.named().items()}
        data: bytes = save(tensors, None if metadata is None else dict(metadata))
        return data

    def __len__(self) -> int:
        """Number of changes along the leading dimension."""
        return len(next(iter(self.named().values())))


@dataclass(frozen=True)
class WeightDeltas(Change):
    """What is added to weights of the model.

    Attributes:
        deltas: By the parameter's name in the model, ``[n_edits, *its shape]``.
    """

    deltas: Mapping[str, Tensor]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """See :class:`Change`."""
        return cls(dict(tensors))

    def named(self) -> dict[str, Tensor]:
        """See :class:`Change`."""
        return dict(self.deltas)

    def then(self, later: "WeightDeltas") -> "WeightDeltas":
        """See :class:`Change`; deltas add."""
        return WeightDeltas(
            {name: delta + later.deltas[name] for name, delta in self.deltas.items()}
        )

    def steps(self, n: int) -> "Sequence[WeightDeltas]":
        """See :class:`Change`: a sum cannot be told apart again, and need not be."""
        return [self]
