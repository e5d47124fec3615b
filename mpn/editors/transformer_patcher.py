"""Transformer-Patcher: one new neuron an edit; with paired languages, MPN.

Source: Huang et al. (ICLR 2023), the authors' code at 93ff458; pairing after Si, Zhang, Zhang
(arXiv 2401.03190). Known differences: dropout falls on the cached query, where the reference's
falls on the whole model (here ``dropout: {on: model}``); the loss is cross-entropy over the labels,
where the reference has one output unit; the learning rate's schedule watches the training loss.
"""

from collections.abc import Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from mpn.changes import Change
from mpn.editors.descent import descend, is_right, schedule
from mpn.editors.margin import lowered
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
        columns = schedule(batch, self._pairing, n_steps=self._settings.optimizer.max_steps)[:, 0]
        rows = engine.take(batch.rows, columns, torch.arange(len(columns)))
        return descend(
            engine,
            batch,
            memory,
            Neurons(self._settings, engine),
            self._start(engine, rows, batch.seeds),
            pairing=self._pairing,
            optimizer=self._settings.optimizer,
            stop=self._settings.stop,
        )

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
        return flat

    @staticmethod
    def _noise(seed: EditSeed, shape: torch.Size) -> Tensor:
        generator = torch_generator(seed.seed, "value noise", seed.stream, seed.position)
        return torch.randn(shape, generator=generator)


class Neurons(Generic[RowsT]):
    """The neurons of a batch of edits in training; see :class:`mpn.editors.descent.Training`."""

    def __init__(self, settings: TransformerPatcherSettings, engine: Engine[RowsT]) -> None:
        """Take the settings."""
        self._settings = settings
        self._engine = engine

    def change(self, parameters: Tensor, remaining: Remaining[RowsT]) -> Patches:
        """Return the neurons that parameters are; values may be a product of two parts."""
        n_patch = self._settings.patches_per_edit
        n_factors = 1 if self._settings.value_init == "zero" else 2
        wide = (parameters.shape[1] - n_patch) // (1 + n_factors)
        keys, biases, *factors = torch.split(parameters, [wide, n_patch, *[wide] * n_factors], 1)
        values = factors[0] if n_factors == 1 else factors[0] * factors[1]
        shape = (len(parameters), n_patch, wide // n_patch)
        return Patches(keys.reshape(shape), biases, values.reshape(shape))

    def losses(self, remaining: Remaining[RowsT], change: Change) -> Tensor:
        """Return each edit's loss, ``[n_edits]``."""
        patches, engine = _neurons(change), self._engine
        rows, dropout = remaining.rows, self._settings.dropout
        if dropout is not None:
            rows = remaining.views(dropout)
        queries, trained = engine.queries(rows), patches
        if self._settings.margin is not None:
            trained = lowered(patches, queries, self._settings.margin)
        losses = edit_loss(engine.logits(rows, trained), remaining.labels)
        pre_activations = trained.pre_activations(queries)
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

    def held_out_losses(self, remaining: Remaining[RowsT], change: Change) -> Tensor:
        """Return the memory losses on held-out rows, ``[n_edits]``."""
        rows = remaining.memory.held_out
        if self._settings.memory is None or not len(rows):
            return torch.zeros_like(remaining.held_out)
        own = _neurons(change).pre_activations(self._engine.queries(remaining.rows))
        bank = MemoryBank(rows, rows)
        return self._memory_loss(bank, own, _neurons(change), self._settings.memory)

    def is_hopeless(
        self, remaining: Remaining[RowsT], change: Change, n_steps: int
    ) -> Tensor | None:
        """Return which edits' neurons have not begun to tell them from the memory."""
        if n_steps != min(_PROBED_AT, self._settings.optimizer.max_steps):
            return None
        return ~self._is_separable(remaining, _neurons(change))

    def _is_separable(self, remaining: Remaining[RowsT], patches: Patches) -> Tensor:
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
        own = patches.pre_activations(self._engine.queries(remaining.rows))[:, 0]
        best = (own - mean).amax(-1)
        right = is_right(self._engine, remaining, patches, self._settings.stop)
        return (best > 0.01 * settings.gap) | right


def _neurons(change: Change) -> Patches:
    assert isinstance(change, Patches)
    return change
