"""What a hypernetwork is trained on: texts that are never edited, and what of them makes a step."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mpn.editors.hypernetworks.settings import HypernetworkSettings
from mpn.edits import ParallelExample, Text
from mpn.errors import MpnInputError
from mpn.seeding import torch_generator


@dataclass(frozen=True)
class Drawn:
    """What one step trains on, as columns of the texts, int64.

    Attributes:
        inner: Whose gradients make the edits, ``[n_edits, n_rows]``; parallel texts.
        languages: Theirs, as indices.
        outer: What each edit is to change: its inner texts, and another, ``[n_edits, n_rows + 1]``.
        others: What it is to leave alone, of other groups, ``[n_edits, n_others]``.
        picks: Which of the labels that the model does not give the edits ask for, in [0, 1).
    """

    inner: Tensor
    languages: Tensor
    outer: Tensor
    others: Tensor
    picks: Tensor


class TrainingTexts:
    """The texts of some examples, each once.

    Attributes:
        texts: All of them.
        languages: Of the corpus, the source first.
    """

    def __init__(
        self,
        examples: Sequence[ParallelExample],
        languages: Sequence[str],
        settings: HypernetworkSettings,
    ) -> None:
        """Arrange examples, of which those of one group follow one another.

        Raises:
            MpnInputError: If a language is not there, or there are not two groups.
        """
        examples = examples[: settings.training.examples]
        self.languages = tuple(languages)
        self._settings = settings
        self._inner = self._numbers()
        columns: dict[Text, int] = {}
        wordings = [
            [
                [
                    columns.setdefault(text, len(columns))
                    for text in (e.texts[language], *e.rephrases.get(language, ()))
                ]
                for language in languages
            ]
            for e in examples
        ]
        self.texts = tuple(columns)
        width = max((len(own) for one in wordings for own in one), default=1)
        self._columns = torch.tensor(  # [n_examples, n_languages, n_wordings]
            [[(own * width)[:width] for own in one] for one in wordings]
        )
        groups = [example.group for example in examples]
        if len(set(groups)) < 2:
            raise MpnInputError(
                "editor.training.examples",
                f"{len(groups)} examples of {len(set(groups))} facts",
                "an editor is trained on at least two: raise it, or use a larger corpus",
            )
        first = {group: i for i, group in reversed(list(enumerate(groups)))}
        self._first = torch.tensor([first[group] for group in groups])
        self._n_of_group = torch.tensor([groups.count(group) for group in groups])

    def draw(self, step: int) -> Drawn:
        """Draw what a step trains on, from the seed and the step's number alone."""
        training = self._settings.training
        generator = torch_generator(training.seed, "hypernetwork step", step)
        n, n_examples = training.edits, len(self._columns)

        def below(limit: int | Tensor, *shape: int) -> Tensor:
            """Draw integers in [0, limit)."""
            return (torch.rand(shape, generator=generator, dtype=torch.float64) * limit).long()

        examples = below(n_examples, n)
        inner = self._inner[below(len(self._inner), n)]
        n_paired = int(below(min(training.paired, len(self.languages) - 1) + 1, 1))
        order = torch.rand(n, len(self.languages), generator=generator)
        order.scatter_(1, inner[:, None], -1.0)
        languages = order.argsort(1)[:, : 1 + n_paired]
        outer = inner
        if self._settings.crosses and len(self._inner) > 1:
            place = (inner[:, None] == self._inner).long().argmax(1)
            outer = self._inner[(place + 1 + below(len(self._inner) - 1, n)) % len(self._inner)]
        wording = (
            below(self._columns.shape[2], n) if training.rephrases else torch.zeros_like(inner)
        )
        rows = self._columns[examples[:, None], languages, 0]
        counts, first = self._n_of_group[examples, None], self._first[examples, None]
        others = below(n_examples - counts, n, training.others)
        others += torch.where(others >= first, counts, 0)
        spoken = below(len(self._inner), n, training.others)
        return Drawn(
            rows,
            languages,
            torch.cat([rows, self._columns[examples, outer, wording, None]], 1),
            self._columns[others, self._inner[spoken], 0],
            torch.rand(n, generator=generator),
        )

    def _numbers(self) -> Tensor:
        """Return the languages that are trained in, as indices."""
        names = self._settings.training.inner_languages(self.languages)
        return torch.tensor([self.languages.index(name) for name in names])
