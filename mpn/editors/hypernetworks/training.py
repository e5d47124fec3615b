"""The training of a hypernetwork, step by step, to be stopped and taken up anywhere."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from mpn.editors.hypernetworks.lessons import Lessons
from mpn.editors.hypernetworks.network import Hypernetwork
from mpn.editors.optimizer import BatchedAdam
from mpn.errors import MpnInputError

_MEMORY = 0.99
_LANGUAGES = "languages"


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands, after whole steps.

    Attributes:
        step: Steps taken.
        network: What has come of them.
        optimizer: Adam's state, by name.
        losses: Edit, locality and gates, each a running mean of about the last 100 steps, ``[3]``.
    """

    step: int
    network: Hypernetwork
    optimizer: Mapping[str, Tensor]
    losses: Tensor

    def finished(self) -> "TrainingState":
        """Return the same on the CPU, of no graph, without what only a training needs."""
        tensors = {name: t.detach().cpu().clone() for name, t in self.network.tensors.items()}
        network = replace(self.network, tensors=tensors)
        return TrainingState(self.step, network, {}, self.losses.cpu())

    def to_bytes(self) -> bytes:
        """Serialise as safetensors; the languages are in the header."""
        tensors = {f"network/{name}": t for name, t in self.network.tensors.items()}
        tensors |= {f"optimizer/{name}": t for name, t in self.optimizer.items()}
        tensors |= {"losses": self.losses, "step": torch.tensor(self.step)}
        kept = {name: t.detach().cpu().clone() for name, t in tensors.items()}
        data: bytes = save(kept, {_LANGUAGES: " ".join(self.network.languages)})
        return data

    @staticmethod
    def from_bytes(data: bytes) -> "TrainingState":
        """Read what :meth:`to_bytes` wrote.

        Raises:
            SafetensorError: If it is something else.
        """
        tensors: dict[str, Tensor] = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        languages = tuple(header["__metadata__"][_LANGUAGES].split())

        def under(prefix: str) -> dict[str, Tensor]:
            return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

        network = Hypernetwork(under("network/"), languages)
        return TrainingState(int(tensors["step"]), network, under("optimizer/"), tensors["losses"])


def train(lessons: Lessons, saved: bytes | None = None) -> Iterator[TrainingState]:
    """Train a hypernetwork to its end, or from where it was saved.

    On one thread of a CPU the numbers are the same bit for bit, wherever it was taken up.

    Args:
        lessons: What it learns from.
        saved: A state as bytes, of the same lessons; None: from the start.

    Yields:
        The state after each step, and first the one it starts from. Its tensors are overwritten
        by the next step.

    Raises:
        MpnInputError: If the loss is no number.
    """
    training = lessons.settings.training
    network = lessons.untrained()
    shapes = network.trained_shapes()
    flat = torch.cat([network.tensors[name].flatten() for name in shapes])[None]
    adam = BatchedAdam(flat.requires_grad_(), training.optimizer)
    losses, first = flat.new_zeros(3), 0
    if saved is not None:
        state = TrainingState.from_bytes(saved)
        adam.restore(state.optimizer)
        losses, first = state.losses.to(flat), state.step
    yield TrainingState(first, _network(network, adam, shapes), adam.state(), losses)
    for step in range(first + 1, training.optimizer.max_steps + 1):
        terms = lessons.losses(_network(network, adam, shapes), step)
        loss = training.edit_weight * terms.edit + training.locality_weight * terms.locality
        gates = lessons.settings.gates
        if gates is not None:
            loss = loss + gates.weight * terms.gates
        if not loss.isfinite():
            raise MpnInputError(
                "editor.training.optimizer.lr", f"the loss is no number at step {step}", "lower it"
            )
        adam.step(*torch.autograd.grad(loss, adam.parameters))
        share = max(1 - _MEMORY, 1 / step)
        losses = torch.lerp(losses, terms.stacked(), share)
        yield TrainingState(step, _network(network, adam, shapes), adam.state(), losses)


def _network(start: Hypernetwork, adam: BatchedAdam, shapes: Mapping[str, Any]) -> Hypernetwork:
    """Return the network that parameters ``[1, n]`` are, differentiable in them."""
    parts = torch.split(adam.parameters[0], [shape.numel() for shape in shapes.values()])
    trained = {n: part.reshape(shapes[n]) for n, part in zip(shapes, parts, strict=True)}
    return replace(start, tensors={**start.tensors, **trained})
