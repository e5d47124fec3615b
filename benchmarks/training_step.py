"""One training step of an edit, spelt out: what the slow way takes, and where the time goes."""

import itertools
import statistics
import time
from typing import Any

import torch
from torch import Tensor

from benchmarks.timing import synchronise
from mpn.editors.optimizer import BatchedAdam
from mpn.editors.settings import TransformerPatcherSettings
from mpn.losses import activation_loss, edit_loss, memory_loss
from mpn.memory import MemoryBank
from mpn.patches import Patches
from mpn.seeding import torch_generator

MEMORY_PRODUCT, TOP_K, EDIT_LOGITS = "memory product", "top-k", "edit logits"
LOSSES, BACKWARD, ADAM = "losses", "backward", "Adam"
_SETTINGS = TransformerPatcherSettings()


class TrainingStep:
    """A step as the editor takes it, with any engine."""

    def __init__(self, engine: Any, rows: Any, labels: Tensor, memory: MemoryBank) -> None:
        """Start the neurons of a batch of edits.

        Args:
            engine: Any engine.
            rows: What the edits train on, ``[n_edits, n_rows]``. Their queries are read once: the
                reference has them from the forward pass.
            labels: Wished for, ``[n_edits]``.
            memory: To be left alone.
        """
        self._engine, self._rows, self._memory = engine, rows, memory
        self._labels = labels.to(engine.backbone.device)
        self._queries = engine.queries(rows)
        key = self._queries[:, :1] / self._queries[:, :1].square().sum(-1, keepdim=True)
        noise = torch.randn(key.shape, generator=torch_generator("step")).to(key)
        start = [key, torch.zeros_like(key[..., 0]), torch.full_like(key, 10.0), noise]
        flat = torch.cat([part.flatten(1) for part in start], 1).detach().requires_grad_()
        self._adam = BatchedAdam(flat, _SETTINGS.optimizer)

    def __call__(self) -> None:
        """Take a step."""
        self.parts()

    def parts(self) -> list[tuple[str, float]]:
        """Take a step and return the elapsed seconds of its parts."""
        activation, memory = _SETTINGS.activation, _SETTINGS.memory
        assert activation is not None
        assert memory is not None
        marks = [("", _now())]
        width = self._queries.shape[-1]
        sizes = [width, 1, width, width]
        keys, biases, scales, noise = torch.split(self._adam.parameters, sizes, 1)
        patches = Patches(keys[:, None], biases, (scales * noise)[:, None])
        loudest = self._memory.loudest(patches, memory.top_k)
        marks.append((TOP_K, _now()))
        logits = self._engine.logits(self._rows, patches)
        marks.append((EDIT_LOGITS, _now()))
        own = patches.pre_activations(self._queries)
        losses = edit_loss(logits, self._labels)
        losses = losses + activation.weight * activation_loss(
            own, top_k=activation.top_k, threshold=activation.threshold
        )
        losses = losses + memory.weight * memory_loss(
            loudest, own, top_k=memory.top_k, ceiling=memory.ceiling, gap=memory.gap
        )
        marks.append((LOSSES, _now()))
        (gradients,) = torch.autograd.grad(losses.sum(), self._adam.parameters)
        marks.append((BACKWARD, _now()))
        self._adam.step(gradients)
        marks.append((ADAM, _now()))
        return [(b[0], b[1] - a[1]) for a, b in itertools.pairwise(marks)]

    def memory_product(self) -> float:
        """Return the elapsed seconds of the product of the memory and the keys."""
        keys = self._adam.parameters.detach()[:, : self._queries.shape[-1]]
        start = _now()
        _ = keys @ self._memory.queries.T
        return _now() - start

    def shares(self, n_steps: int) -> dict[str, float]:
        """Return the median seconds of each part over some steps."""
        found: dict[str, list[float]] = {MEMORY_PRODUCT: []}
        for _ in range(n_steps):
            for name, elapsed in self.parts():
                found.setdefault(name, []).append(elapsed)
            found[MEMORY_PRODUCT].append(self.memory_product())
        medians = {name: statistics.median(times) for name, times in found.items()}
        medians[TOP_K] = max(0.0, medians[TOP_K] - medians[MEMORY_PRODUCT])
        return medians


def _now() -> float:
    """Elapsed time: parts are too short to be interrupted often, and medians are taken."""
    synchronise()
    return time.perf_counter()
