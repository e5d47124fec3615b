"""Fine-tuning: the plainest editor; FT+KL also keeps what the model says elsewhere.

Source: the baselines of Huang et al., Transformer-Patcher (ICLR 2023): Adam at 1e-5 on the edit
until it is right, at most 2000 steps; FT+KL after Zhu et al. (2020), with the divergence a sum over
labels and a mean over texts, where the reference's divides by both. Pairing makes FT+MPN: set
``stop.when: all`` with it, or an edit ends where its source is right.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

from mpn.backbones import Backbone
from mpn.editors.descent import descend
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.output_training import UNTIL_RIGHT, DivergenceSettings, plain_adam
from mpn.editors.protocol import EditBatch, EditOutcome
from mpn.editors.reach import Reach, Remembers
from mpn.editors.stopping import StopSettings
from mpn.editors.weights import Layers, WeightTraining, layer_indices, reach_of_ffns
from mpn.engines.protocol import Engine
from mpn.memory import MemoryBank
from mpn.pairing import PairingSettings
from mpn.settings import Settings

RowsT = TypeVar("RowsT")


class FineTuneSettings(Settings):
    """Fine-tuning on the edit alone; the defaults are the reference's.

    Attributes:
        name: The editor's name.
        layers: Layers that are trained: ``last``, ``all``, or a list of numbers from 0.
        part: What of them: their ``ffn``, the whole ``layer``; ``model``: every weight there is,
            embeddings and head too, whatever the layers.
        divergence: FT+KL; ``null``: nothing is kept but by chance.
        optimizer: Adam and its limits.
        stop: When to stop.
    """

    name: Literal["finetune"] = "finetune"
    layers: Layers = "last"
    part: Literal["ffn", "layer", "model"] = "ffn"
    divergence: DivergenceSettings | None = None
    optimizer: OptimizerSettings = plain_adam(1e-5)
    stop: StopSettings = UNTIL_RIGHT

    @property
    def reach(self) -> Reach:
        """Where it changes a model."""
        return reach_of_ffns(self.layers if self.part == "ffn" else "all")

    @property
    def remembers(self) -> Remembers | None:
        """What it leaves alone."""
        return None if self.divergence is None else self.divergence.remembers


@dataclass(frozen=True)
class FineTune:
    """The editor; see :class:`mpn.editors.protocol.Editor`."""

    settings: FineTuneSettings
    pairing: PairingSettings

    def edit(
        self, engine: Engine[RowsT], batch: EditBatch[RowsT], memory: MemoryBank
    ) -> EditOutcome:
        """See :class:`mpn.editors.protocol.Editor`."""
        names = trained_weights(engine.backbone, self.settings)
        training = WeightTraining(engine, names, self.settings.divergence)
        return descend(
            engine,
            batch,
            memory,
            training,
            training.start(len(batch.labels)),
            pairing=self.pairing,
            optimizer=self.settings.optimizer,
            stop=self.settings.stop,
        )


def trained_weights(backbone: Backbone, settings: FineTuneSettings) -> list[str]:
    """Return the names in the model of the weights that are trained.

    Raises:
        MpnInputError: If the model has no such layer.
    """
    if settings.part == "model":
        return [name for name, _ in backbone.model.named_parameters()]
    own = backbone.ffn_parameters if settings.part == "ffn" else backbone.layer_parameters
    return [name for layer in layer_indices(backbone, settings.layers) for name in own(layer)]
