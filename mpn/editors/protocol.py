"""What every editor is given and gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from torch import Tensor

from mpn.changes import Change
from mpn.engines.protocol import Engine
from mpn.memory import MemoryBank

RowsT = TypeVar("RowsT")


@dataclass(frozen=True)
class EditSeed:
    """Names an edit for everything random about it: the same whatever it is batched with."""

    seed: int
    stream: int
    position: int


@dataclass(frozen=True)
class EditBatch(Generic[RowsT]):
    """Independent edits to compute side by side.

    Attributes:
        rows: The engine's rows ``[n_edits, n_columns]``; more columns than are trained on.
        columns: Columns that each edit may train on, the source first, then the languages drawn
            from; int64 on the CPU, ``[n_edits, n_columns]``.
        labels: Desired labels, int64 ``[n_edits]``.
        seeds: One for each edit.
        weights: How often each of those languages is drawn, ``[n_edits, n_columns - 1]``; None:
            all alike.
        languages: Of the columns that ``columns`` can name, in the rows' order; none: not said.
    """

    rows: RowsT
    columns: Tensor
    labels: Tensor
    seeds: Sequence[EditSeed]
    weights: Tensor | None = None
    languages: Sequence[str] = ()


@dataclass(frozen=True)
class Effort:
    """What an edit took.

    Attributes:
        steps: Gradient steps, of all attempts.
        separable: Whether it could be told from the memory; one that cannot be fails, however
            long it is trained.
        attempts: How often it was trained from the start.
    """

    steps: int
    separable: bool = True
    attempts: int = 1


@dataclass(frozen=True)
class EditOutcome:
    """The changes computed for a batch.

    Attributes:
        change: One an edit, leading dimension ``n_edits``.
        efforts: What each edit took.
    """

    change: Change
    efforts: tuple[Effort, ...]


class Editor(Protocol):
    """Computes a change; applying it is the caller's.

    Contract: the outcome depends on the engine's model, the batch's rows, labels and seeds, and
    the memory; never on what was edited before in the same process. Nothing is written to the
    model. An edit's outcome in a batch equals its outcome alone, up to rounding.
    """

    def edit(
        self, engine: Engine[RowsT], batch: EditBatch[RowsT], memory: MemoryBank
    ) -> EditOutcome:
        """Compute the changes of a batch."""
        ...
