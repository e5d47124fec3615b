"""Knowledge neurons: find the neurons that an answer comes from, and change only their values.

Source: Dai et al., Knowledge Neurons in Pretrained Transformers (ACL 2022): integrated gradients
over FFN activations with 20 steps, neurons of at least 0.2 of the largest attribution, at most 20.
There the values are moved by the difference of two word embeddings; a classifier has none, so they
are trained until the edit is right. Attributions are of a label's logit, meaned over the rows of
the edit batch. In a stream, an attribution leaves out what earlier edits did to a neuron's value.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from mpn.changes import Change, WeightDeltas
from mpn.editors.attribution import attribute
from mpn.editors.descent import descend, schedule
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.output_training import UNTIL_RIGHT, OutputTraining, plain_adam
from mpn.editors.protocol import EditBatch, EditOutcome
from mpn.editors.reach import Reach, Remembers
from mpn.editors.remaining import Remaining
from mpn.editors.stopping import StopSettings
from mpn.editors.weights import Layers, layer_indices, reach_of_ffns
from mpn.engines.protocol import Engine
from mpn.memory import MemoryBank
from mpn.pairing import PairingSettings
from mpn.settings import Settings

RowsT = TypeVar("RowsT")


class KnowledgeNeuronsSettings(Settings):
    """How neurons are found and changed.

    Attributes:
        name: The editor's name.
        layers: Layers that are searched: ``last``, ``all``, or a list of numbers from 0.
        attribute: Whose logit is attributed: the ``desired`` label's, or the one ``predicted``
            of each edit's source.
        steps: Terms of the integral.
        threshold: Smallest attribution that counts, as a share of the edit's largest.
        neurons: Most neurons that an edit changes; those of largest attribution.
        optimizer: Adam and its limits.
        stop: When to stop; with paired languages ``when: all``, or it ends with the source.
    """

    name: Literal["knowledge_neurons"] = "knowledge_neurons"
    layers: Layers = "all"
    attribute: Literal["desired", "predicted"] = "desired"
    steps: PositiveInt = 20
    threshold: float = Field(default=0.2, ge=0, le=1)
    neurons: PositiveInt = 20
    optimizer: OptimizerSettings = plain_adam(0.01)
    stop: StopSettings = UNTIL_RIGHT

    @property
    def reach(self) -> Reach:
        """Where it changes a model."""
        return reach_of_ffns(self.layers)

    @property
    def remembers(self) -> Remembers | None:
        """What it leaves alone: nothing."""
        return None


@dataclass(frozen=True)
class KnowledgeNeurons:
    """The editor; see :class:`mpn.editors.protocol.Editor`."""

    settings: KnowledgeNeuronsSettings
    pairing: PairingSettings

    def edit(
        self, engine: Engine[RowsT], batch: EditBatch[RowsT], memory: MemoryBank
    ) -> EditOutcome:
        """See :class:`mpn.editors.protocol.Editor`."""
        settings = self.settings
        columns = schedule(batch, self.pairing, settings.optimizer.max_steps)[:, 0]
        rows = engine.take(batch.rows, columns, torch.arange(len(columns)))
        labels = batch.labels
        if settings.attribute == "predicted":
            labels = engine.predictions(rows)[:, 0]
        labels = labels.to(engine.backbone.device)
        layers = layer_indices(engine.backbone, settings.layers)
        found = [attribute(engine, rows, labels, layer, n_steps=settings.steps) for layer in layers]
        chosen = largest(torch.cat(found, 1), settings.threshold, settings.neurons)
        training = LocatedValues(engine, layers, *chosen)
        return descend(
            engine,
            batch,
            memory,
            training,
            training.start(),
            pairing=self.pairing,
            optimizer=settings.optimizer,
            stop=settings.stop,
        )


def largest(attributions: Tensor, threshold: float, most: int) -> tuple[Tensor, Tensor]:
    """Choose the neurons of largest attribution.

    Args:
        attributions: ``[n_edits, n]``.
        threshold: Smallest that counts, as a share of each edit's largest.
        most: How many, at most.

    Returns:
        Indices, int64, and which of them count, bool; both ``[n_edits, min(most, n)]``, the
        largest first. The largest always counts.
    """
    values, indices = attributions.topk(min(most, attributions.shape[1]), dim=1)
    counts = (values >= threshold * values[:, :1]) & (values > 0)
    counts[:, 0] = True
    return indices, counts


class LocatedValues(OutputTraining[RowsT]):
    """What is added to the values of some neurons of some layers, from zero."""

    def __init__(
        self, engine: Engine[RowsT], layers: list[int], neurons: Tensor, counts: Tensor
    ) -> None:
        """Choose what is trained.

        Args:
            engine: The model.
            layers: Their indices.
            neurons: Each edit's, counted over the layers in order, int64 ``[n_edits, n]``.
            counts: Which are trained, bool ``[n_edits, n]``.
        """
        super().__init__(engine)
        backbone = engine.backbone
        self._neurons, self._counts = neurons, counts
        self._widths: dict[str, int] = {}
        for layer in layers:
            local = {own: name for name, own in backbone.ffn_parameters(layer).items()}
            self._widths[local["down.weight"]] = backbone.site(layer).down.weight.shape[1]

    def start(self) -> Tensor:
        """Return the parameters of the base model, ``[n_edits, n * d_model]``: zeros."""
        backbone = self.engine.backbone
        shape = (len(self._neurons), self._neurons.shape[1] * backbone.d_model)
        return torch.zeros(shape, device=backbone.device, dtype=backbone.dtype)

    def change(self, parameters: Tensor, remaining: Remaining[RowsT]) -> Change:
        """See :class:`mpn.editors.descent.Training`."""
        own = remaining.edits.to(parameters.device)
        neurons, counts = self._neurons[own], self._counts[own]
        moved = parameters.reshape(*neurons.shape, -1) * counts[..., None]
        values = moved.new_zeros(len(moved), sum(self._widths.values()), moved.shape[-1])
        values = values.scatter_add(1, neurons[..., None].expand_as(moved), moved)
        parts = torch.split(values, list(self._widths.values()), 1)
        pairs = zip(self._widths, parts, strict=True)
        return WeightDeltas({name: part.mT for name, part in pairs})
