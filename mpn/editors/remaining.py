"""The edits of a batch that are still trained; those that are finished leave it."""

from typing import Generic, TypeVar

import torch
from torch import Tensor

from mpn.changes import Change
from mpn.editors.protocol import EditBatch, EditOutcome, Effort
from mpn.engines.dropout import DropoutSettings
from mpn.engines.protocol import Engine
from mpn.memory import MemoryBank
from mpn.seeding import torch_generator

RowsT = TypeVar("RowsT")


class Remaining(Generic[RowsT]):
    """All that belongs to the edits still in training.

    Attributes:
        edits: Which they are, indices into the batch; on the CPU, as all that decides which rows
            are read, so that no step waits for the device.
        rows: What they train on at the present step, ``[n_edits, n_rows]``.
        labels: Their desired labels, ``[n_edits]``.
        memory: What they leave alone.
        held_out: Their memory losses on held-out rows at the last check, ``[n_edits]``.
        separable: Whether each edit of the batch could be told from the memory, on the CPU.
    """

    def __init__(
        self,
        engine: Engine[RowsT],
        batch: EditBatch[RowsT],
        memory: MemoryBank,
        schedule: Tensor,
    ) -> None:
        """Start with all edits of a batch, at step 0.

        Args:
            engine: Reads the rows.
            batch: The edits.
            memory: Of all of them.
            schedule: Columns at each step, int64 ``[n_edits, n_steps, n_rows]``; one step if it
                is the same at each.
        """
        device = engine.backbone.device
        self._engine, self._batch, self._schedule = engine, batch, schedule
        self._step = 0
        self._generators, self._draws = (
            [torch_generator(s.seed, name, s.stream, s.position) for s in batch.seeds]
            for name in ("dropout", "remembered")
        )
        self.edits = torch.arange(len(batch.labels))
        self.labels = batch.labels.to(device)
        self.memory = memory
        self.held_out = torch.full((len(batch.labels),), torch.inf, device=device)
        self.separable = torch.ones(len(batch.labels), dtype=torch.bool)
        self._steps = torch.zeros(len(batch.labels), dtype=torch.int64)
        self._finished: Change | None = None
        self.rows = self._rows()

    def __len__(self) -> int:
        """How many remain."""
        return len(self.edits)

    def go_to(self, step: int) -> None:
        """Read the rows of a step."""
        step = min(step, self._schedule.shape[1] - 1)
        if step != self._step:
            self._step = step
            self.rows = self._rows()

    def views(self, dropout: DropoutSettings) -> RowsT:
        """Return the rows several times under dropout."""
        generators = [self._generators[edit] for edit in self.edits.tolist()]
        return self._engine.views(self.rows, dropout, generators)

    def remembered(self, n: int) -> tuple[RowsT, Tensor]:
        """Draw texts that each edit leaves alone.

        Args:
            n: How many.

        Returns:
            Rows ``[n_edits, n]``; the base model's log-probabilities ``[n_edits, n, n_labels]``.
        """
        texts = self.memory.texts
        assert texts is not None, "the editor's settings ask for texts"
        columns = [
            torch.randint(len(texts.reference), (n,), generator=self._draws[edit])
            for edit in self.edits.tolist()
        ]
        return texts.take(self._engine, torch.stack(columns))

    def finish(self, done: Tensor, change: Change, n_steps: int) -> None:
        """Let some edits go with what they have become.

        Args:
            done: Which, bool ``[n_edits]`` on the device.
            change: Of all that remain, ``[n_edits]``.
            n_steps: Steps that they took.
        """
        leaving, staying = done.cpu(), (~done).nonzero().squeeze(-1)
        gone = self.edits[leaving]
        if self._finished is None:
            self._finished = change.take(done).spread(len(self._batch.labels), gone)
        else:
            self._finished.put(gone, change.take(done))
        self._steps[gone] = n_steps
        self.edits = self.edits[~leaving]
        self.labels = self.labels[staying]
        self.memory = self.memory.of_edits(staying)
        self.held_out = self.held_out[staying]
        if len(self):
            self.rows = self._rows()

    def outcome(self) -> EditOutcome:
        """Return what came of the batch, once all edits are finished."""
        assert self._finished is not None
        efforts = map(Effort, self._steps.tolist(), self.separable.tolist())
        return EditOutcome(self._finished, tuple(efforts))

    def _rows(self) -> RowsT:
        columns = self._schedule[self.edits, self._step]
        return self._engine.take(self._batch.rows, columns, self.edits)
