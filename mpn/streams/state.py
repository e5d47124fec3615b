"""How far streams have come, and the neurons that they have got on the way."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from safetensors.torch import load, save
from torch import Tensor

from mpn.metrics.values import MetricValue
from mpn.patches import Patches


@dataclass(frozen=True)
class StreamsState:
    """The edited models of some streams, apart from their base, and how many edits are done.

    Attributes:
        done: Edits done: of all streams together under ``single``, of each under ``sequential``.
        patches: Under ``sequential``, the neurons of each edit, ``[n_streams, done]`` sets; those
            of an edit that was not needed are zero.
        edited: Which edits were made, bool ``[n_streams, done]``.
    """

    done: int
    patches: Patches
    edited: Tensor

    @staticmethod
    def start(n_streams: int, d_model: int) -> "StreamsState":
        """Return the state before the first edit."""
        nothing = torch.zeros(n_streams, 0, 0, d_model)
        patches = Patches(nothing, nothing[..., 0], nothing)
        return StreamsState(0, patches, torch.zeros(n_streams, 0, dtype=torch.bool))

    def to_bytes(self) -> bytes:
        """Serialise as safetensors."""
        p = self.patches
        tensors = {"keys": p.keys, "biases": p.biases, "values": p.values, "edited": self.edited}
        tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        data: bytes = save({**tensors, "done": torch.tensor(self.done)})
        return data

    @staticmethod
    def from_bytes(data: bytes) -> "StreamsState":
        """Read what :meth:`to_bytes` wrote."""
        tensors = load(data)
        patches = Patches(tensors["keys"], tensors["biases"], tensors["values"])
        return StreamsState(int(tensors["done"]), patches, tensors["edited"])


@dataclass(frozen=True)
class StreamProgress:
    """What streams have measured since the last time, and how to go on from here.

    Attributes:
        done: Edits done, of all streams together.
        values: New values, by stream number.
        state: Where the streams stand.
    """

    done: int
    values: Mapping[int, list[MetricValue]]
    state: StreamsState


class History:
    """The neurons of a run of edits, written edit by edit; what is written stays as it is."""

    def __init__(self, state: StreamsState, n_edits: int, device: torch.device) -> None:
        """Go on from a state, with room for ``n_edits`` edits of each stream."""
        self._n_edits, self._device = n_edits, device
        self.edited = torch.zeros(len(state.edited), n_edits, dtype=torch.bool)
        self.edited[:, : state.done] = state.edited
        self._patches: Patches | None = None
        if state.patches.n_patch:
            self._patches = self._room(state.patches.to(device))
            for old, new in zip(state.patches.tensors(), self._patches.tensors(), strict=True):
                new[:, : state.done] = old.to(device)

    def write(self, position: int, patches: Patches, streams: Tensor) -> None:
        """Write the neurons that some streams got at a position, ``[len(streams)]`` sets."""
        if self._patches is None:
            self._patches = self._room(patches)
        self.edited[streams, position] = True
        for new, room in zip(patches.tensors(), self._patches.tensors(), strict=True):
            room[streams.to(room.device), position] = new

    def at(self, position: int) -> Patches:
        """Return the neurons of one position, ``[n_streams]`` sets; zeros where none was made."""
        assert self._patches is not None
        return Patches(*(t[:, position] for t in self._patches.tensors()))

    def until(self, position: int) -> Patches | None:
        """Return all neurons before a position, ``[n_streams]`` sets; None before the first."""
        if self._patches is None or position == 0:
            return None
        return Patches(*(t[:, :position].flatten(1, 2) for t in self._patches.tensors()))

    def state(self, done: int) -> StreamsState:
        """Return where the streams stand after ``done`` edits each."""
        edited = self.edited[:, :done]
        if self._patches is None:
            return StreamsState(done, StreamsState.start(len(edited), 0).patches, edited)
        return StreamsState(done, Patches(*(t[:, :done] for t in self._patches.tensors())), edited)

    def _room(self, like: Patches) -> Patches:
        n_streams = len(self.edited)
        shape = (n_streams, self._n_edits, *like.keys.shape[-2:])
        keys = torch.zeros(shape, dtype=like.keys.dtype, device=self._device)
        return Patches(keys, torch.zeros_like(keys[..., 0]), torch.zeros_like(keys))
