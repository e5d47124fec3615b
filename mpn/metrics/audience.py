"""On which texts an edit is measured, and in which columns of an engine's rows they stand."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mpn.edits import ParallelEdit, ParallelExample, Text

Kind = Literal["source", "parallel", "rephrase", "neighbour"]


@dataclass(frozen=True)
class Cell:
    """What stands in one column for one edit; the neighbour's own label does not matter."""

    kind: Kind
    language: str
    text: Text


def edit_cells(
    edit: ParallelEdit, languages: Sequence[str], neighbours: Sequence[ParallelExample]
) -> tuple[Cell, ...]:
    """Return everything measured on an edit itself.

    Args:
        edit: The edit.
        languages: Source language first; column i is the example in language i.
        neighbours: Examples of the same neighbourhood and other groups.

    Returns:
        The example in each language, then its rephrases, then its neighbours.
    """
    example = edit.example
    cells = [
        Cell("source" if language == edit.source_language else "parallel", language, text)
        for language, text in ((language, example.texts[language]) for language in languages)
    ]
    for language in languages:
        cells += [Cell("rephrase", language, t) for t in example.rephrases.get(language, ())]
    for neighbour in neighbours:
        cells += [Cell("neighbour", language, neighbour.texts[language]) for language in languages]
    return tuple(cells)


def padded(cells: Sequence[Cell], n_columns: int) -> list[Text]:
    """Return the texts of a row, filled up with its first text to ``n_columns``."""
    return [cell.text for cell in cells] + [cells[0].text] * (n_columns - len(cells))


@dataclass(frozen=True)
class Panel:
    """Unrelated texts in many languages, with their true labels.

    Attributes:
        texts: The texts.
        languages: Language of each.
        labels: True label of each.
    """

    texts: tuple[Text, ...]
    languages: tuple[str, ...]
    labels: tuple[int, ...]

    @functools.cached_property
    def by_language(self) -> tuple[tuple[str, ...], Tensor]:
        """The languages, and which of them each text is in, int64 ``[n]``."""
        names = tuple(dict.fromkeys(self.languages))
        numbers = {name: i for i, name in enumerate(names)}
        return names, torch.tensor([numbers[language] for language in self.languages])

    @staticmethod
    def of(pairs: Sequence[tuple[ParallelExample, str]]) -> "Panel":
        """Take one text for each pair of an example and a language."""
        return Panel(
            tuple(example.texts[language] for example, language in pairs),
            tuple(language for _, language in pairs),
            tuple(example.label for example, _ in pairs),
        )
