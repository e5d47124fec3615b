"""What a study file can say of an editor; the defaults are the reference's, but for dropout.

Source: Huang et al., Transformer-Patcher (ICLR 2023), the authors' code at 93ff458.
"""

from dataclasses import replace
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from mpn.editors.margin import MarginSettings
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.output_training import DivergenceSettings
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
        reference_compat: Count each row once for every row of the edit batch, views under
            dropout among them, so that ``top_k`` is over rows that are repeated, as in the
            reference by mistake: its 1000 are 125 rows eight times.
    """

    weight: NonNegativeFloat = 5.0
    size: PositiveInt = 40_000
    positions: Literal["cls", "all"] = "cls"
    held_out_share: float = Field(default=0.1, ge=0, lt=1)
    top_k: PositiveInt | None = 125
    ceiling: float = -3.0
    gap: float = 3.0
    shape: PenaltyShape = "exp"
    reference_compat: bool = False

    @property
    def remembers(self) -> Remembers:
        """What is to be left alone."""
        return Remembers(
            queries=self.size, positions=self.positions, held_out_share=self.held_out_share
        )


class NeuronSettings(Settings):
    """How many neurons an edit has, and what each answers for.

    Attributes:
        patches_per_edit: Neurons an edit; with ``patches_for: row``, a row. Where there are
            several their keys start a tenth apart, or they would stay the same.
        patches_for: ``edit``: each neuron fires on every row of the edit batch, as in the
            reference. ``row``: each row has its own, whose key starts at its query, and which
            may be silent on the others: narrower keys, which break less along a stream.
    """

    patches_per_edit: PositiveInt = 1
    patches_for: Literal["edit", "row"] = "edit"

    def together(self, n_rows: int) -> int:
        """Return the neurons of one edit of some rows."""
        return self.patches_per_edit * (n_rows if self.patches_for == "row" else 1)


class TransformerPatcherSettings(NeuronSettings):
    """How neurons are made; the defaults are the reference's, but for where dropout falls.

    Attributes:
        name: The editor's name.
        layer: Layer whose feed-forward network gets the neurons, counted from 0, or ``last``.
        positions: Where they act: at every position, or at [CLS] only.
        patches_per_edit: See :class:`NeuronSettings`.
        patches_for: See :class:`NeuronSettings`.
        retries: An edit that is not right in the end, as ``stop.when`` asks (``never``: in the
            source), is trained again from the start with these neurons, one entry after
            another: ``[{patches_per_edit: 3}, {patches_for: row}]``.
        dropout: Several views of each row at a step; ``null`` trains on the rows themselves.
        margin: How much less than they do neurons are taken to fire on what is trained, so that
            they fire on more; ``null``: not at all.
        activation: ``null`` leaves the activation loss out.
        memory: ``null`` leaves the memory loss out.
        divergence: The reference's other memory loss, on what the model says of other texts,
            beside ``memory`` or, where that is ``null``, in its place; ``null`` leaves it out.
        optimizer: Adam and its limits.
        stop: When to stop early.
        value_init: ``noise``: ``v = a * n``, a = 10, n ~ N(0, 1), both trained, as in the
            reference. ``zero``: v starts at 0 and is trained itself, so that the base model is
            the starting point.
    """

    name: Literal["transformer_patcher"] = "transformer_patcher"
    layer: int | Literal["last"] = "last"
    positions: Literal["all", "cls"] = "all"
    retries: list[NeuronSettings] = Field(default_factory=list)
    dropout: DropoutSettings | None = DropoutSettings()
    margin: MarginSettings | None = None
    activation: ActivationSettings | None = ActivationSettings()
    memory: MemorySettings | None = MemorySettings()
    divergence: DivergenceSettings | None = None
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
        queries = None if self.memory is None else self.memory.remembers
        if self.divergence is None:
            return queries
        return replace(queries or Remembers(), texts=self.divergence.size)

    @property
    def neurons(self) -> NeuronSettings:
        """Those of the first attempt."""
        return NeuronSettings(patches_per_edit=self.patches_per_edit, patches_for=self.patches_for)
