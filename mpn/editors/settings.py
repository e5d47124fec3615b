"""What a study file can say of an editor; the defaults are the reference's, but for dropout.

Source: Huang et al., Transformer-Patcher (ICLR 2023), the authors' code at 93ff458.
"""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from mpn.editors.margin import MarginSettings
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.reach import Reach, Remembers
from mpn.editors.stopping import StopSettings
from mpn.engines.dropout import DropoutSettings
from mpn.losses import PenaltyShape
from mpn.settings import Settings


class ActivationSettings(Settings):
    """Weight and shape of :func:`mpn.losses.activation_loss`."""

    weight: NonNegativeFloat = 1.0
    top_k: PositiveInt | None = 5
    threshold: float = 0.0
    shape: PenaltyShape = "exp"


class MemorySettings(Settings):
    """The memory, and weight and shape of :func:`mpn.losses.memory_loss`.

    Attributes:
        weight: The loss's weight.
        size: Rows in the memory, over all languages.
        positions: Which positions of a text make rows: ``cls``, as in the reference, or ``all``
            of those where neurons act, so that below the last layer they are kept from firing
            elsewhere in other texts.
        held_out_share: Fraction of them by which the stop rule judges.
        top_k: See the loss.
        ceiling: See the loss.
        gap: See the loss.
        shape: See the loss.
    """

    weight: NonNegativeFloat = 5.0
    size: PositiveInt = 40_000
    positions: Literal["cls", "all"] = "cls"
    held_out_share: float = Field(default=0.1, ge=0, lt=1)
    top_k: PositiveInt | None = 125
    ceiling: float = -3.0
    gap: float = 3.0
    shape: PenaltyShape = "exp"

    @property
    def remembers(self) -> Remembers:
        """What is to be left alone."""
        return Remembers(self.size, "queries", self.positions, self.held_out_share)


class TransformerPatcherSettings(Settings):
    """How neurons are made; the defaults are the reference's, but for where dropout falls.

    Attributes:
        name: The editor's name.
        layer: Layer whose feed-forward network gets the neurons, counted from 0, or ``last``.
        positions: Where they act: at every position, or at [CLS] only.
        patches_per_edit: Neurons an edit.
        dropout: Several views of each row at a step; ``null`` trains on the rows themselves.
        margin: How much less than they do neurons are taken to fire on what is trained, so that
            they fire on more; ``null``: not at all.
        activation: ``null`` leaves the activation loss out.
        memory: ``null`` leaves the memory loss out.
        optimizer: Adam and its limits.
        stop: When to stop early.
        value_init: ``noise``: ``v = a * n``, a = 10, n ~ N(0, 1), both trained, as in the
            reference. ``zero``: v starts at 0 and is trained itself, so that the base model is
            the starting point.
    """

    name: Literal["transformer_patcher"] = "transformer_patcher"
    layer: int | Literal["last"] = "last"
    positions: Literal["all", "cls"] = "all"
    patches_per_edit: PositiveInt = 1
    dropout: DropoutSettings | None = DropoutSettings()
    margin: MarginSettings | None = None
    activation: ActivationSettings | None = ActivationSettings()
    memory: MemorySettings | None = MemorySettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    stop: StopSettings = StopSettings()
    value_init: Literal["noise", "zero"] = "noise"

    @property
    def reach(self) -> Reach:
        """Where it changes a model."""
        own = self.dropout is not None and self.dropout.on == "model"
        return Reach(self.layer, self.positions, under_own_dropout=own)

    @property
    def remembers(self) -> Remembers | None:
        """What it leaves alone."""
        return None if self.memory is None else self.memory.remembers
