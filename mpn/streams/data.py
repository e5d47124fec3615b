"""What a stream edits and measures on."""

from dataclasses import dataclass

from torch import Tensor

from mpn.edits import ParallelEdit, ParallelExample
from mpn.metrics.audience import Panel


@dataclass(frozen=True)
class StreamData:
    """One stream's share of the corpus.

    Attributes:
        number: The stream's.
        edits: The edits, in order.
        languages: All languages, the source first.
        drawn_from: Languages that the pairing draws from, in drawing order.
        seen: For each edit, the languages that its pairing drew.
        neighbours: For each edit, examples near it that it should leave alone.
        evaluation: Unrelated texts, for locality and test retention; the same in every stream.
        remembered: Training examples, for train retention; the same in every stream.
        weights: How often each of ``drawn_from`` is drawn; None: all alike.
    """

    number: int
    edits: tuple[ParallelEdit, ...]
    languages: tuple[str, ...]
    drawn_from: tuple[str, ...]
    seen: tuple[frozenset[str], ...]
    neighbours: tuple[tuple[ParallelExample, ...], ...]
    evaluation: Panel
    remembered: Panel
    weights: Tensor | None = None
