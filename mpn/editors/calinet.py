"""CaliNet: a small feed-forward network beside the frozen one, trained on the edit.

Source: Dong et al., Calibrating Factual Knowledge in Pretrained Language Models (Findings of EMNLP
2022): ``FFN(q) + act(q K^T) V`` with 64 slots and no bias. It is trained there on all facts at
once; here each edit brings slots of its own, so that a stream of edits grows. Values start at 0,
so that the base model is the starting point, and an edit ends where it is right.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from pydantic import PositiveInt
from torch import Tensor

from mpn.backbones import Positions
from mpn.changes import Change
from mpn.editors.descent import descend
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.output_training import UNTIL_RIGHT, OutputTraining, plain_adam
from mpn.editors.protocol import EditBatch, EditOutcome, EditSeed
from mpn.editors.reach import Reach, Remembers
from mpn.editors.remaining import Remaining
from mpn.editors.stopping import StopSettings
from mpn.engines.protocol import Engine
from mpn.memory import MemoryBank
from mpn.pairing import PairingSettings
from mpn.patches import Patches
from mpn.seeding import torch_generator
from mpn.settings import Settings

RowsT = TypeVar("RowsT")


class CaliNetSettings(Settings):
    """How slots are made and trained.

    Attributes:
        name: The editor's name.
        layer: Layer whose feed-forward network gets the slots, counted from 0, or ``last``.
        positions: Where they act: at every position, or at [CLS] only.
        slots: Neurons an edit.
        optimizer: Adam and its limits.
        stop: When to stop; with paired languages ``when: all``, or it ends with the source.
    """

    name: Literal["calinet"] = "calinet"
    layer: int | Literal["last"] = "last"
    positions: Positions = "all"
    slots: PositiveInt = 64
    optimizer: OptimizerSettings = plain_adam(1e-3)
    stop: StopSettings = UNTIL_RIGHT

    @property
    def reach(self) -> Reach:
        """Where it changes a model."""
        return Reach(self.layer, self.positions)

    @property
    def remembers(self) -> Remembers | None:
        """What it leaves alone: nothing."""
        return None


@dataclass(frozen=True)
class CaliNet:
    """The editor; see :class:`mpn.editors.protocol.Editor`."""

    settings: CaliNetSettings
    pairing: PairingSettings

    def edit(
        self, engine: Engine[RowsT], batch: EditBatch[RowsT], memory: MemoryBank
    ) -> EditOutcome:
        """See :class:`mpn.editors.protocol.Editor`."""
        backbone, shape = engine.backbone, (self.settings.slots, engine.backbone.d_model)
        keys = torch.stack([_keys(seed, shape) for seed in batch.seeds])
        keys = keys.to(backbone.device, backbone.dtype)
        return descend(
            engine,
            batch,
            memory,
            Slots(engine, shape),
            torch.cat([keys.flatten(1), torch.zeros_like(keys).flatten(1)], 1),
            pairing=self.pairing,
            optimizer=self.settings.optimizer,
            stop=self.settings.stop,
        )


class Slots(OutputTraining[RowsT]):
    """Keys and values in training, without biases."""

    def __init__(self, engine: Engine[RowsT], shape: tuple[int, int]) -> None:
        """Make room for ``shape = (slots, d_model)``."""
        super().__init__(engine)
        self._shape = shape

    def change(self, parameters: Tensor, remaining: Remaining[RowsT]) -> Change:
        """See :class:`mpn.editors.descent.Training`."""
        keys, values = parameters.reshape(-1, 2, *self._shape).unbind(1)
        return Patches(keys, keys.new_zeros(keys.shape[:-1]), values)


def _keys(seed: EditSeed, shape: tuple[int, int]) -> Tensor:
    """Draw keys to which a normalised query is about a standard normal number, each."""
    generator = torch_generator(seed.seed, "calinet keys", seed.stream, seed.position)
    return torch.randn(shape, generator=generator).div(shape[1] ** 0.5)
