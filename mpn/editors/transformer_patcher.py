"""Transformer-Patcher: one new neuron an edit; with paired languages, MPN.

Source: Huang et al. (ICLR 2023), the authors' code at 93ff458; pairing after Si, Zhang, Zhang
(arXiv 2401.03190). Known differences: dropout falls on the cached query, where the reference's
falls on the whole model (here ``dropout: {on: model}``); the loss is cross-entropy over the labels,
where the reference has one output unit; the learning rate's schedule watches the training loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from mpn.changes import Change
from mpn.editors.descent import descend, is_right, schedule
from mpn.editors.margin import lowered
from mpn.editors.output_training import divergences
from mpn.editors.protocol import EditBatch, EditOutcome, EditSeed
from mpn.editors.remaining import Remaining
from mpn.editors.settings import MemorySettings, NeuronSettings, TransformerPatcherSettings
from mpn.engines.protocol import Engine
from mpn.losses import activation_loss, edit_loss, memory_loss
from mpn.memory import MemoryBank
from mpn.pairing import PairingSettings
from mpn.patches import Patches
from mpn.seeding import torch_generator

RowsT = TypeVar("RowsT")
_VALUE_SCALE = 10.0
_KEY_NOISE = 0.1
_PROBED_AT = 100  # steps after which an edit that cannot succeed is found out


@dataclass(frozen=True)
class TransformerPatcher:
    """The editor; see :class:`mpn.editors.protocol.Editor`."""

    settings: TransformerPatcherSettings
    pairing: PairingSettings

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
        rows = self._rows(engine, batch)
        outcome = self._attempt(engine, batch, rows, memory, self.settings.neurons)
        retries, n_rows = self.settings.retries, engine.queries(rows).shape[1]
        if not retries:
            return outcome
        widest = max(n.together(n_rows) for n in (self.settings.neurons, *retries))
        change, efforts = _neurons(outcome.change).padded(widest), list(outcome.efforts)
        for neurons in retries:
            labels = batch.labels.to(engine.backbone.device)
            right = is_right(engine, rows, labels, change, self.settings.stop).cpu()
            failed = (~right).nonzero().squeeze(-1)
            if not len(failed):
                break
            again = EditBatch(
                engine.take(batch.rows, batch.columns[failed], failed),
                torch.arange(batch.columns.shape[1]).expand(len(failed), -1),
                batch.labels[failed],
                [batch.seeds[edit] for edit in failed.tolist()],
            )
            own_memory = memory.of_edits(failed)
            outcome = self._attempt(engine, again, self._rows(engine, again), own_memory, neurons)
            change.put(failed, _neurons(outcome.change).padded(widest))
            for edit, effort in zip(failed.tolist(), outcome.efforts, strict=True):
                before = efforts[edit]
                efforts[edit] = replace(
                    effort, steps=before.steps + effort.steps, attempts=before.attempts + 1
                )
        return EditOutcome(change, tuple(efforts))

    def _rows(self, engine: Engine[RowsT], batch: EditBatch[RowsT]) -> RowsT:
        """Return the rows that the first step trains on."""
        columns = schedule(batch, self.pairing, n_steps=self.settings.optimizer.max_steps)[:, 0]
        return engine.take(batch.rows, columns, torch.arange(len(columns)))

    def _attempt(
        self,
        engine: Engine[RowsT],
        batch: EditBatch[RowsT],
        rows: RowsT,
        memory: MemoryBank,
        neurons: NeuronSettings,
    ) -> EditOutcome:
        """Train a batch of edits once, from the start."""
        return descend(
            engine,
            batch,
            memory,
            Neurons(self.settings, engine, neurons),
            self._start(engine, rows, batch.seeds, neurons),
            pairing=self.pairing,
            optimizer=self.settings.optimizer,
            stop=self.settings.stop,
        )

    def _start(
        self,
        engine: Engine[RowsT],
        rows: RowsT,
        seeds: Sequence[EditSeed],
        neurons: NeuronSettings,
    ) -> Tensor:
        """Return the parameters at their start, ``[n_edits, n]``: keys, biases, values' factors."""
        queries = engine.queries(rows)
        if neurons.patches_for == "edit":
            from_source = self.pairing.key_init == "source"
            queries = queries[:, :1] if from_source else queries.mean(1, keepdim=True)
        keys = starting_keys(queries).repeat_interleave(neurons.patches_per_edit, 1)
        if neurons.patches_per_edit > 1:
            keys = keys * (1 + _KEY_NOISE * _noise("key noise", seeds, keys))
        biases = keys.new_zeros(keys.shape[:2])
        if self.settings.value_init == "zero":
            values = [torch.zeros_like(keys)]
        else:
            noise = _noise("value noise", seeds, keys)
            values = [torch.full_like(keys, _VALUE_SCALE), noise]
        return torch.cat([part.flatten(1) for part in (keys, biases, *values)], 1)


def _noise(purpose: str, seeds: Sequence[EditSeed], like: Tensor) -> Tensor:
    """Draw from N(0, 1) for each edit, whatever it is batched with, ``[n_edits, ...]``."""
    own = [torch_generator(seed.seed, purpose, seed.stream, seed.position) for seed in seeds]
    return torch.stack([torch.randn(like.shape[1:], generator=each) for each in own]).to(like)


def starting_keys(queries: Tensor) -> Tensor:
    """Return the keys that fire with 1 on each of some queries, ``[..., d_model]``."""
    return queries / queries.square().sum(-1, keepdim=True)


class Neurons(Generic[RowsT]):
    """The neurons of a batch of edits in training; see :class:`mpn.editors.descent.Training`."""

    def __init__(
        self,
        settings: TransformerPatcherSettings,
        engine: Engine[RowsT],
        neurons: NeuronSettings,
    ) -> None:
        """Take the settings, and which neurons an edit has in this attempt."""
        self._settings = settings
        self._engine = engine
        self._neurons = neurons

    def change(self, parameters: Tensor, remaining: Remaining[RowsT]) -> Patches:
        """Return the neurons that parameters are; values may be a product of two parts."""
        n_factors = 1 if self._settings.value_init == "zero" else 2
        d_model = self._engine.backbone.d_model
        n_patch = parameters.shape[1] // (d_model * (1 + n_factors) + 1)
        wide = n_patch * d_model
        keys, biases, *factors = torch.split(parameters, [wide, n_patch, *[wide] * n_factors], 1)
        values = factors[0] if n_factors == 1 else factors[0] * factors[1]
        shape = (len(parameters), n_patch, d_model)
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
        pre_activations = self._own(trained.pre_activations(queries))
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
        if self._settings.divergence is not None:
            losses = losses + divergences(engine, remaining, patches, self._settings.divergence)
        return losses

    def _own(self, pre_activations: Tensor) -> Tensor:
        """Keep, of each neuron's pre-activations, those on the rows that it answers for.

        Args:
            pre_activations: On the rows of the edit batch, several times under dropout,
                ``[n_edits, n_views * n_rows, n_patch]``.

        Returns:
            The same, or ``[n_edits, n_views, n_patch]`` where each row has its neurons.
        """
        if self._neurons.patches_for == "edit":
            return pre_activations
        each = self._neurons.patches_per_edit
        n_edits, n_views_of_rows, n_patch = pre_activations.shape
        n_rows = n_patch // each
        by_row = pre_activations.reshape(n_edits, n_views_of_rows // n_rows, n_rows, n_rows, each)
        return by_row.diagonal(dim1=2, dim2=3).transpose(-1, -2).flatten(2)

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
            repeated=settings.reference_compat,
        )
        if memory.kept is None or (settings.top_k is None and settings.shape != "exp"):
            return losses
        times = edit_pre_activations.shape[1] if settings.reference_compat else 1
        averaged = loudest.shape[1] * times  # rows that do not count among them, which add nothing
        if settings.top_k is not None:
            averaged = min(averaged, settings.top_k)
        return losses * (averaged / (times * memory.counts(len(losses))).clamp(max=averaged))

    def held_out_losses(self, remaining: Remaining[RowsT], change: Change) -> Tensor:
        """Return the memory losses on held-out rows, ``[n_edits]``."""
        rows = remaining.memory.held_out
        if self._settings.memory is None or not len(rows):
            return torch.zeros_like(remaining.held_out)
        own = self._own(_neurons(change).pre_activations(self._engine.queries(remaining.rows)))
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
        right = is_right(
            self._engine, remaining.rows, remaining.labels, patches, self._settings.stop
        )
        return (best > 0.01 * settings.gap) | right


def _neurons(change: Change) -> Patches:
    assert isinstance(change, Patches)
    return change
