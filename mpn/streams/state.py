"""How far streams have come, and what their models have become on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from safetensors.torch import load, save
from torch import Tensor

from mpn.changes import Change, WeightDeltas
from mpn.metrics.values import MetricValue
from mpn.patches import Patches

_KINDS: Mapping[str, type[Change]] = {"neurons": Patches, "weights": WeightDeltas}


@dataclass(frozen=True)
class StreamsState:
    """The edited models of some streams, apart from their base, and how many edits are done.

    Attributes:
        done: Edits done: of all streams together under ``single``, of each under ``sequential``.
        edited: Under ``sequential``, which edits were made, bool ``[n_streams, done]``.
        change: What they did to each stream's model together, ``[n_streams]``; None: nothing.
    """

    done: int
    edited: Tensor
    change: Change | None = None

    @staticmethod
    def start(n_streams: int) -> "StreamsState":
        """Return the state before the first edit."""
        return StreamsState(0, torch.zeros(n_streams, 0, dtype=torch.bool))

    def to_bytes(self) -> bytes:
        """Serialise as safetensors."""
        tensors = {"edited": self.edited, "done": torch.tensor(self.done)}
        if self.change is not None:
            kind = next(name for name, one in _KINDS.items() if isinstance(self.change, one))
            named = self.change.named().items()
            tensors |= {f"{kind}/{name}": t.detach().cpu().contiguous() for name, t in named}
        data: bytes = save(tensors)
        return data

    @staticmethod
    def from_bytes(data: bytes) -> "StreamsState":
        """Read what :meth:`to_bytes` wrote."""
        tensors = load(data)
        done, edited = int(tensors.pop("done")), tensors.pop("edited")
        if not tensors:
            return StreamsState(done, edited)
        kind, _, _ = next(iter(tensors)).partition("/")
        named = {name.removeprefix(f"{kind}/"): tensor for name, tensor in tensors.items()}
        return StreamsState(done, edited, _KINDS[kind].of(named))


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
    """What a run of edits has done to the models of some streams, edit by edit.

    Attributes:
        edited: Which edits were made, bool ``[n_streams, n_edits]``.
        change: What they did together, ``[n_streams]``; None before the first.
    """

    def __init__(self, state: StreamsState, n_edits: int, device: torch.device) -> None:
        """Go on from a state, with room for ``n_edits`` edits of each stream."""
        self.edited = torch.zeros(len(state.edited), n_edits, dtype=torch.bool)
        self.edited[:, : state.done] = state.edited
        self.change = None if state.change is None else state.change.to(device)

    def write(self, position: int, change: Change, streams: Tensor) -> Change:
        """Write what some streams' edits did at a position.

        Args:
            position: The edits'.
            change: ``[len(streams)]``.
            streams: Which they are.

        Returns:
            The same, of all streams.
        """
        self.edited[streams, position] = True
        change = change.spread(len(self.edited), streams)
        self.change = change if self.change is None else self.change.then(change)
        return change

    def steps(self) -> Sequence[Change]:
        """Return what was done so far, to absorb in order."""
        if self.change is None:
            return []
        return self.change.steps(int(self.edited.any(0).sum()))

    def state(self, done: int) -> StreamsState:
        """Return where the streams stand after ``done`` edits each."""
        return StreamsState(done, self.edited[:, :done].clone(), self.change)
