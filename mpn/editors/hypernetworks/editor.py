"""MEND and LiME: one gradient of the edit loss, turned into a change by a trained network.

Source: Mitchell et al. (ICLR 2022) and Xu et al. (Findings of ACL 2023); see
:mod:`mpn.editors.hypernetworks.settings`. Each row of the edit batch has a gradient of its own;
what they become is summed, and divided by the number of rows that are wrong. There are no steps
to redraw languages at, so a pairing policy makes one draw an edit.
"""

from dataclasses import dataclass
from typing import TypeVar

import torch

from mpn.changes import WeightDeltas
from mpn.editors.descent import schedule
from mpn.editors.hypernetworks.factors import edit_factors, weight_names
from mpn.editors.hypernetworks.network import Hypernetwork
from mpn.editors.hypernetworks.settings import HypernetworkSettings
from mpn.editors.protocol import EditBatch, EditOutcome, Effort
from mpn.engines.protocol import Engine
from mpn.memory import MemoryBank
from mpn.pairing import PairingSettings

RowsT = TypeVar("RowsT")


@dataclass(frozen=True)
class HypernetworkEditor:
    """The editor; see :class:`mpn.editors.protocol.Editor`.

    Attributes:
        settings: Of MEND or LiME.
        pairing: Whose gradients are taken.
        network: Trained.
    """

    settings: HypernetworkSettings
    pairing: PairingSettings
    network: Hypernetwork

    def edit(
        self, engine: Engine[RowsT], batch: EditBatch[RowsT], memory: MemoryBank
    ) -> EditOutcome:
        """See :class:`mpn.editors.protocol.Editor`; the memory was read in the training."""
        columns = schedule(batch, self.pairing, 1)[:, 0]
        n_edits, n_rows = columns.shape
        factors = edit_factors(
            engine,
            batch.rows,
            columns.flatten(),
            torch.arange(n_edits).repeat_interleave(n_rows),
            batch.labels.repeat_interleave(n_rows),
            self.settings.rank,
        )
        numbers = torch.tensor(
            self.network.numbers(batch.languages) or [-1] * (int(columns.max()) + 1)
        )
        backbone, names = engine.backbone, weight_names(engine)
        rows = engine.take(batch.rows, columns, torch.arange(n_edits))
        wrong = engine.predictions(rows) != batch.labels.cpu()[:, None]
        with torch.no_grad():
            updates = self.network.to(backbone.device, backbone.dtype).updates(
                {weight: own.reshape(n_edits, n_rows, -1) for weight, own in factors.items()},
                numbers[columns],
                wrong.sum(1),
            )
        change = WeightDeltas({names[weight]: update for weight, update in updates.items()})
        return EditOutcome(change, (Effort(1),) * n_edits)
