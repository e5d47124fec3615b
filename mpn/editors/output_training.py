"""Training on what the model says, with no term on how: what the plain editors have in common."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from mpn.changes import Change
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.reach import Remembers
from mpn.editors.remaining import Remaining
from mpn.editors.stopping import StopSettings
from mpn.engines.protocol import Engine
from mpn.losses import divergence_loss, edit_loss
from mpn.settings import Settings

RowsT = TypeVar("RowsT")

UNTIL_RIGHT = StopSettings(min_steps=1, every=1)


def plain_adam(lr: float) -> OptimizerSettings:
    """Return Adam at one rate, with neither decay nor clipping."""
    return OptimizerSettings(lr=lr, weight_decay=0.0, clip=None, plateau=None)


class DivergenceSettings(Settings):
    """Keep what the model says of other texts, :func:`mpn.losses.divergence_loss`.

    Attributes:
        weight: The loss's weight.
        size: Texts that are drawn from, over all languages.
        rows: Texts that are drawn anew at each step.
        reference_compat: Average over labels too, as the code of Transformer-Patcher does by
            mistake: the term is as many times smaller as there are labels.
    """

    weight: NonNegativeFloat = 1.0
    size: PositiveInt = 1000
    rows: PositiveInt = 32
    reference_compat: bool = False

    @property
    def remembers(self) -> Remembers:
        """What is to be left alone."""
        return Remembers(texts=self.size)


def divergences(
    engine: Engine[RowsT],
    remaining: Remaining[RowsT],
    change: Change,
    settings: DivergenceSettings,
) -> Tensor:
    """Return each edit's weighted divergence on texts drawn for this step, ``[n_edits]``."""
    rows, reference = remaining.remembered(settings.rows)
    return settings.weight * divergence_loss(
        engine.logits(rows, change), reference, over_labels=settings.reference_compat
    )


class OutputTraining(ABC, Generic[RowsT]):
    """Cross-entropy of the edit, and a divergence; see :class:`mpn.editors.descent.Training`."""

    def __init__(self, engine: Engine[RowsT], divergence: DivergenceSettings | None = None) -> None:
        """Look at a model.

        Args:
            engine: The model.
            divergence: What is left alone; None: nothing.
        """
        self.engine, self._divergence = engine, divergence

    @abstractmethod
    def change(self, parameters: Tensor, remaining: Remaining[RowsT]) -> Change:
        """See :class:`mpn.editors.descent.Training`."""

    def losses(self, remaining: Remaining[RowsT], change: Change) -> Tensor:
        """See :class:`mpn.editors.descent.Training`."""
        losses = edit_loss(self.engine.logits(remaining.rows, change), remaining.labels)
        if self._divergence is None:
            return losses
        return losses + divergences(self.engine, remaining, change, self._divergence)

    def held_out_losses(self, remaining: Remaining[RowsT], change: Change) -> Tensor:
        """See :class:`mpn.editors.descent.Training`: an edit stops as soon as it is right."""
        return torch.zeros_like(remaining.held_out)

    def is_hopeless(
        self, remaining: Remaining[RowsT], change: Change, n_steps: int
    ) -> Tensor | None:
        """See :class:`mpn.editors.descent.Training`: any text can be told from others."""
        return None
