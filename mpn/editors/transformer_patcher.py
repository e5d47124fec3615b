"""Transformer-Patcher: one new neuron an edit; with paired languages, MPN.

Source: Huang et al. (ICLR 2023), the authors' code at 93ff458; pairing after Si, Zhang, Zhang
(arXiv 2401.03190). Known differences: the edit stands once in its batch, without dropout, where
the reference repeats it eight times under dropout; the loss is cross-entropy over the labels,
where the reference has one output unit; the learning rate's schedule watches the training loss.
"""

from typing import TypeVar

import torch
from torch import Tensor

from mpn.editors.optimizer import BatchedAdam
from mpn.editors.protocol import EditBatch, EditOutcome, EditSeed
from mpn.editors.settings import MemorySettings, TransformerPatcherSettings
from mpn.engine import Engine
from mpn.losses import activation_loss, edit_loss, memory_loss
from mpn.memory import MemoryBank
from mpn.pairing import PairingSettings
from mpn.patches import Patches
from mpn.seeding import torch_generator

RowsT = TypeVar("RowsT")
_VALUE_SCALE = 10.0


class TransformerPatcher:
    """The editor; see :class:`mpn.editors.protocol.Editor`."""

    def __init__(self, settings: TransformerPatcherSettings, pairing: PairingSettings) -> None:
        """Take the settings and the pairing policy."""
        self._settings = settings
        self._pairing = pairing

    def edit(
        self, engine: Engine[RowsT], batch: EditBatch[RowsT], memory: MemoryBank
    ) -> EditOutcome:
        """Train the neurons of a batch of edits, side by side.

        Args:
            engine: The model, at the site of the settings' layer.
            batch: The edits.
            memory: Queries to be left alone; empty where the settings have no memory.

        Returns:
            The neurons and the steps they took.
        """
        settings = self._settings
        device = engine.backbone.device
        schedule = self._schedule(batch).to(device)  # [n_edits, n_steps, n_rows]
        labels = batch.labels.to(device)
        active = torch.arange(len(labels), device=device)
        adam = BatchedAdam(self._leaves(engine, batch, schedule), settings.optimizer)
        finished = [torch.empty_like(t) for t in _neurons(adam.leaves)]
        steps = torch.full((len(labels),), settings.optimizer.max_steps)
        held_out_before = torch.full((len(labels),), torch.inf, device=device)

        for step in range(settings.optimizer.max_steps):
            rows = engine.take(batch.rows, schedule[active, step], active)
            patches = Patches(*_neurons(adam.leaves))
            logits = engine.logits(rows, patches)
            losses = self._losses(
                logits,
                labels[active],
                patches.pre_activations(engine.queries(rows)),
                patches,
                memory,
            )
            adam.step(torch.autograd.grad(losses.sum(), adam.leaves))
            if not self._is_check(step + 1):
                continue
            adam.check(losses.detach())
            if settings.stop.when == "never":
                continue
            patches = Patches(*(t.detach() for t in _neurons(adam.leaves)))
            held_out = self._held_out_loss(engine.queries(rows), patches, memory)
            right = self._is_right(engine, rows, patches, labels[active])
            done = right & ~(held_out < held_out_before - settings.stop.improvement)
            held_out_before = held_out
            if done.any():
                leaving, staying = active[done], (~done).nonzero().squeeze(-1)
                for target, source in zip(finished, _neurons(adam.leaves), strict=True):
                    target[leaving] = source.detach()[done]
                steps[leaving.cpu()] = step + 1
                active, held_out_before = active[staying], held_out[staying]
                adam.keep(staying)
                if not len(active):
                    break
        for target, source in zip(finished, _neurons(adam.leaves), strict=True):
            target[active] = source.detach()
        return EditOutcome(Patches(*(t.detach() for t in finished)), tuple(int(n) for n in steps))

    def _schedule(self, batch: EditBatch[RowsT]) -> Tensor:
        """Return the columns that each edit trains on at each step."""
        columns = torch.tensor(list(batch.columns))
        drawn = [
            self._pairing.schedule(
                len(columns) - 1,
                n_steps=self._settings.optimizer.max_steps,
                seed=seed.seed,
                stream=seed.stream,
                edit=seed.position,
            )
            for seed in batch.seeds
        ]
        return columns[torch.stack(drawn)]

    def _leaves(
        self, engine: Engine[RowsT], batch: EditBatch[RowsT], schedule: Tensor
    ) -> list[Tensor]:
        """Return the parameters at their start: keys, biases, and the factors of the values."""
        edits = torch.arange(len(schedule), device=schedule.device)
        queries = engine.queries(engine.take(batch.rows, schedule[:, 0], edits))
        query = queries[:, 0] if self._pairing.key_init == "source" else queries.mean(1)
        n_patch = self._settings.patches_per_edit
        keys = (query / query.square().sum(-1, keepdim=True))[:, None].repeat(1, n_patch, 1)
        biases = keys.new_zeros(keys.shape[:2])
        if self._settings.value_init == "zero":
            values = [torch.zeros_like(keys)]
        else:
            noise = torch.stack([self._noise(seed, keys.shape[1:]) for seed in batch.seeds])
            values = [torch.full_like(keys, _VALUE_SCALE), noise.to(keys)]
        return [leaf.detach().clone().requires_grad_() for leaf in (keys, biases, *values)]

    @staticmethod
    def _noise(seed: EditSeed, shape: torch.Size) -> Tensor:
        generator = torch_generator(seed.seed, "value noise", seed.stream, seed.position)
        return torch.randn(shape, generator=generator)

    def _losses(
        self,
        logits: Tensor,
        labels: Tensor,
        edit_pre_activations: Tensor,
        patches: Patches,
        memory: MemoryBank,
    ) -> Tensor:
        """Return each edit's loss, ``[n_edits]``."""
        losses = edit_loss(logits, labels)
        activation = self._settings.activation
        if activation is not None:
            losses = losses + activation.weight * activation_loss(
                edit_pre_activations,
                top_k=activation.top_k,
                threshold=activation.threshold,
                shape=activation.shape,
            )
        if self._settings.memory is not None:
            losses = losses + self._settings.memory.weight * self._memory_loss(
                memory.queries, edit_pre_activations, patches, self._settings.memory
            )
        return losses

    @staticmethod
    def _memory_loss(
        queries: Tensor, edit_pre_activations: Tensor, patches: Patches, settings: MemorySettings
    ) -> Tensor:
        """Evaluate the memory loss; one matrix product serves all edits."""
        n_edits, n_patch, d_model = patches.keys.shape
        products = queries @ patches.keys.reshape(-1, d_model).T
        pre_activations = products.reshape(-1, n_edits, n_patch).transpose(0, 1)
        return memory_loss(
            pre_activations + patches.biases[:, None, :],
            edit_pre_activations,
            top_k=settings.top_k,
            ceiling=settings.ceiling,
            gap=settings.gap,
            shape=settings.shape,
        )

    def _is_check(self, n_steps: int) -> bool:
        stop = self._settings.stop
        return n_steps >= stop.min_steps and (n_steps - stop.min_steps) % stop.every == 0

    @torch.no_grad()
    def _held_out_loss(self, queries: Tensor, patches: Patches, memory: MemoryBank) -> Tensor:
        """Return the memory loss on the held-out rows, ``[n_edits]``; 0 where there are none."""
        if self._settings.memory is None or not len(memory.held_out):
            return queries.new_zeros(len(queries))
        return self._memory_loss(
            memory.held_out, patches.pre_activations(queries), patches, self._settings.memory
        )

    @torch.no_grad()
    def _is_right(
        self, engine: Engine[RowsT], rows: RowsT, patches: Patches, labels: Tensor
    ) -> Tensor:
        """Whether each edit says what it should, bool ``[n_edits]``."""
        right = engine.logits(rows, patches).argmax(-1) == labels[:, None]
        return right[:, 0] if self._settings.stop.when == "source" else right.all(-1)


def _neurons(leaves: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return keys, biases and values; values may be a product of two leaves."""
    keys, biases, *factors = leaves
    return keys, biases, factors[0] if len(factors) == 1 else factors[0] * factors[1]
