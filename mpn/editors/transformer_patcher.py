"""Transformer-Patcher: one new neuron an edit; with paired languages, MPN.

Source: Huang et al. (ICLR 2023), the authors' code at 93ff458; pairing after Si, Zhang, Zhang
(arXiv 2401.03190). Known differences: dropout falls on the cached query, where the reference's
falls on the whole model (here ``dropout: {on: model}``); the loss is cross-entropy over the labels,
where the reference has one output unit; the learning rate's schedule watches the training loss.
"""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from mpn.editors.optimizer import BatchedAdam
from mpn.editors.protocol import EditBatch, EditOutcome, EditSeed
from mpn.editors.remaining import Remaining
from mpn.editors.settings import MemorySettings, TransformerPatcherSettings
from mpn.engines.protocol import Engine
from mpn.losses import activation_loss, edit_loss, memory_loss
from mpn.memory import MemoryBank
from mpn.pairing import PairingSettings
from mpn.patches import Patches
from mpn.seeding import torch_generator

RowsT = TypeVar("RowsT")
_VALUE_SCALE = 10.0
_PROBED_AT = 100  # steps after which an edit that cannot succeed is found out


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
            The neurons, and what they took.
        """
        optimizer = self._settings.optimizer
        remaining = Remaining(engine, batch, memory, self._schedule(batch))
        adam = BatchedAdam(self._start(engine, remaining.rows, batch.seeds), optimizer)
        patches = self._patches(adam.parameters)
        for n_steps in range(1, optimizer.max_steps + 1):
            remaining.go_to(n_steps - 1)
            losses = self._losses(engine, remaining, patches)
            adam.step(*torch.autograd.grad(losses.sum(), adam.parameters))
            patches = self._patches(adam.parameters)
            if self._is_check(n_steps):
                adam.check(losses.detach())
            done = self._done(engine, remaining, patches.detach(), n_steps)
            if done is not None and done.any():
                remaining.finish(done, patches.detach(), n_steps)
                if not len(remaining):
                    break
                adam.keep(~done)
                patches = self._patches(adam.parameters)
        else:
            everything = torch.ones_like(remaining.labels, dtype=torch.bool)
            remaining.finish(everything, patches.detach(), optimizer.max_steps)
        return remaining.outcome()

    def _schedule(self, batch: EditBatch[RowsT]) -> Tensor:
        """Return the columns that each edit trains on, ``[n_edits, n_steps or 1, n_rows]``."""
        drawn = torch.stack(
            [
                self._pairing.schedule(
                    batch.columns.shape[1] - 1,
                    n_steps=self._settings.optimizer.max_steps,
                    seed=seed.seed,
                    stream=seed.stream,
                    edit=seed.position,
                )
                for seed in batch.seeds
            ]
        )
        if (drawn == drawn[:, :1]).all():
            drawn = drawn[:, :1]
        edits = torch.arange(len(drawn))[:, None, None]
        return batch.columns[edits, drawn]

    def _start(self, engine: Engine[RowsT], rows: RowsT, seeds: Sequence[EditSeed]) -> Tensor:
        """Return the parameters at their start, ``[n_edits, n]``: keys, biases, values' factors."""
        queries = engine.queries(rows)
        query = queries[:, 0] if self._pairing.key_init == "source" else queries.mean(1)
        n_patch = self._settings.patches_per_edit
        keys = (query / query.square().sum(-1, keepdim=True))[:, None].repeat(1, n_patch, 1)
        biases = keys.new_zeros(keys.shape[:2])
        if self._settings.value_init == "zero":
            values = [torch.zeros_like(keys)]
        else:
            noise = torch.stack([self._noise(seed, keys.shape[1:]) for seed in seeds])
            values = [torch.full_like(keys, _VALUE_SCALE), noise.to(keys)]
        flat = torch.cat([part.flatten(1) for part in (keys, biases, *values)], 1)
        return flat.detach().requires_grad_()

    def _patches(self, parameters: Tensor) -> Patches:
        """Return the neurons that parameters are; values may be a product of two parts."""
        n_patch = self._settings.patches_per_edit
        n_factors = 1 if self._settings.value_init == "zero" else 2
        wide = (parameters.shape[1] - n_patch) // (1 + n_factors)
        keys, biases, *factors = torch.split(parameters, [wide, n_patch, *[wide] * n_factors], 1)
        values = factors[0] if n_factors == 1 else factors[0] * factors[1]
        shape = (len(parameters), n_patch, wide // n_patch)
        return Patches(keys.reshape(shape), biases, values.reshape(shape))

    @staticmethod
    def _noise(seed: EditSeed, shape: torch.Size) -> Tensor:
        generator = torch_generator(seed.seed, "value noise", seed.stream, seed.position)
        return torch.randn(shape, generator=generator)

    def _losses(
        self,
        engine: Engine[RowsT],
        remaining: Remaining[RowsT],
        patches: Patches,
    ) -> Tensor:
        """Return each edit's loss, ``[n_edits]``."""
        rows, dropout = remaining.rows, self._settings.dropout
        if dropout is not None:
            rows = remaining.views(dropout)
        losses = edit_loss(engine.logits(rows, patches), remaining.labels)
        pre_activations = patches.pre_activations(engine.queries(rows))
        activation = self._settings.activation
        if activation is not None:
            losses = losses + activation.weight * activation_loss(
                pre_activations,
                top_k=activation.top_k,
                threshold=activation.threshold,
                shape=activation.shape,
            )
        if self._settings.memory is not None:
            losses = losses + self._settings.memory.weight * self._memory_loss(
                remaining.memory, pre_activations, patches, self._settings.memory
            )
        return losses

    @staticmethod
    def _memory_loss(
        memory: MemoryBank, edit_pre_activations: Tensor, patches: Patches, settings: MemorySettings
    ) -> Tensor:
        """Evaluate the memory loss of the rows on which the neurons fire most."""
        loudest = memory.loudest(patches, settings.top_k)
        losses = memory_loss(
            loudest,
            edit_pre_activations,
            top_k=settings.top_k,
            ceiling=settings.ceiling,
            gap=settings.gap,
            shape=settings.shape,
        )
        if memory.kept is None or (settings.top_k is None and settings.shape != "exp"):
            return losses
        averaged = loudest.shape[1]  # rows that do not count among them, which add nothing
        return losses * (averaged / memory.counts(len(losses)).clamp(max=averaged))

    def _is_check(self, n_steps: int) -> bool:
        stop = self._settings.stop
        return n_steps >= stop.min_steps and (n_steps - stop.min_steps) % stop.every == 0

    def _done(
        self, engine: Engine[RowsT], remaining: Remaining[RowsT], patches: Patches, n_steps: int
    ) -> Tensor | None:
        """Return which edits end after a step, bool ``[n_edits]``; None where nobody looks."""
        done = None
        if n_steps == min(_PROBED_AT, self._settings.optimizer.max_steps):
            separable = self._is_separable(engine, remaining, patches)
            remaining.separable[remaining.edits] = separable.cpu()
            done = ~separable
        if self._settings.stop.when == "never":
            return None
        if self._is_check(n_steps):
            enough = self._is_enough(engine, remaining, patches)
            done = enough if done is None else enough | done
        return done

    @torch.no_grad()
    def _is_enough(
        self, engine: Engine[RowsT], remaining: Remaining[RowsT], patches: Patches
    ) -> Tensor:
        """Whether each edit is right and its held-out memory loss stands still, ``[n_edits]``."""
        held_out = torch.zeros_like(remaining.held_out)
        rows = remaining.memory.held_out
        if self._settings.memory is not None and len(rows):
            own = patches.pre_activations(engine.queries(remaining.rows))
            bank = MemoryBank(rows, rows)
            held_out = self._memory_loss(bank, own, patches, self._settings.memory)
        improved = held_out < remaining.held_out - self._settings.stop.improvement
        remaining.held_out = held_out
        return self._is_right(engine, remaining, patches) & ~improved

    @torch.no_grad()
    def _is_right(
        self, engine: Engine[RowsT], remaining: Remaining[RowsT], patches: Patches
    ) -> Tensor:
        """Whether each edit says what it should, bool ``[n_edits]``."""
        answers = engine.logits(remaining.rows, patches).argmax(-1)
        right = answers == remaining.labels[:, None]
        return right.all(-1) if self._settings.stop.when == "all" else right[:, 0]

    @torch.no_grad()
    def _is_separable(
        self, engine: Engine[RowsT], remaining: Remaining[RowsT], patches: Patches
    ) -> Tensor:
        """Whether a neuron has begun to tell each edit from the memory, bool ``[n_edits]``.

        Where [CLS] hardly depends on the text none can: the edit is not right, and its
        pre-activation has stayed within a hundredth of the wished-for gap of the loudest rows'.
        """
        settings, memory = self._settings.memory, remaining.memory
        if settings is None:
            return torch.ones_like(remaining.labels, dtype=torch.bool)
        loudest = memory.loudest(patches, settings.top_k)
        counted = memory.counts(len(remaining)).clamp(max=loudest.shape[1])
        mean = loudest.nan_to_num(neginf=0.0).sum(1) / counted[:, None]
        own = patches.pre_activations(engine.queries(remaining.rows))[:, 0]
        best = (own - mean).amax(-1)
        return (best > 0.01 * settings.gap) | self._is_right(engine, remaining, patches)
