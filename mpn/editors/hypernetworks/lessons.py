"""The losses of a hypernetwork's training on one model.

Source: as MEND's: cross-entropy of the outer texts under the edited model, times 0.1, and the
divergence of other texts from the base model. The outer texts are what is edited itself, and one
that is drawn. The model is frozen and an edit takes one gradient, so that the factors of every text
and label are computed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mpn.changes import WeightDeltas
from mpn.editors.hypernetworks.factors import Factors, edit_factors, weight_names
from mpn.editors.hypernetworks.network import Hypernetwork
from mpn.editors.hypernetworks.settings import HypernetworkSettings
from mpn.editors.hypernetworks.texts import TrainingTexts
from mpn.edits import ParallelExample
from mpn.engines.protocol import Engine
from mpn.losses import divergence_loss, edit_loss
from mpn.seeding import torch_generator


@dataclass(frozen=True)
class Losses:
    """The terms of one step, scalars without their weights.

    Attributes:
        edit: Cross-entropy of the outer texts, nats.
        locality: Divergence of other texts, nats.
        gates: Expected share of open gates; 0 where there are none.
    """

    edit: Tensor
    locality: Tensor
    gates: Tensor

    def stacked(self) -> Tensor:
        """Return the three, of no graph, ``[3]``."""
        return torch.stack([self.edit, self.locality, self.gates]).detach()


class Lessons:
    """A frozen model, texts that are never edited, and what the model says of them."""

    def __init__(
        self,
        engine: Engine[Any],
        examples: Sequence[ParallelExample],
        languages: Sequence[str],
        labels: Sequence[int],
        settings: HypernetworkSettings,
    ) -> None:
        """Compute the factors of every text and label.

        Args:
            engine: The model, at the editor's layer.
            examples: What is trained on, those of one group one after another.
            languages: Of the corpus, the source first.
            labels: That an edit may ask for, at least two.
            settings: The editor's.

        Raises:
            MpnInputError: If the languages that are asked for are not there, or there are not
                two groups.
        """
        self.settings = settings
        self._engine = engine
        self._texts = TrainingTexts(examples, languages, settings)
        self._rows = engine.load(self._texts.texts)
        with torch.no_grad():
            self._reference = engine.logits(self._rows)[0].log_softmax(-1)
        self._predicted = self._reference.argmax(-1).cpu()
        self._labels = torch.tensor(labels)
        self._wanted = torch.tensor(  # [n_texts, n_labels - 1], as indices of labels
            [
                [i for i, label in enumerate(labels) if label != said][: len(labels) - 1]
                for said in self._predicted.tolist()
            ]
        )
        self._factors = self._all_factors()

    def untrained(self) -> Hypernetwork:
        """Return the network to start with."""
        return Hypernetwork.untrained(self._factors, self.settings, self._texts.languages)

    def losses(self, network: Hypernetwork, step: int) -> Losses:
        """Return the losses of a step; differentiable in the network's tensors."""
        drawn, names = self._texts.draw(step), weight_names(self._engine)
        picks = (drawn.picks * self._wanted.shape[1]).long()
        wanted = self._wanted[drawn.inner[:, 0], picks]
        index = (wanted[:, None], drawn.inner)
        factors = {weight: own[index] for weight, own in self._factors.items()}
        noise = torch_generator(self.settings.training.seed, "hypernetwork gates", step)
        labels = self._labels[wanted]
        n_wrong = (self._predicted[drawn.inner] != labels[:, None]).sum(1)
        updates = network.updates(factors, drawn.languages, n_wrong, noise)
        change = WeightDeltas({names[weight]: update for weight, update in updates.items()})
        columns = torch.cat([drawn.outer, drawn.others], 1)
        rows = self._engine.take(self._rows, columns, torch.zeros(len(columns), dtype=torch.int64))
        logits = self._engine.logits(rows, change)
        outer, others = torch.split(logits, [drawn.outer.shape[1], drawn.others.shape[1]], 1)
        return Losses(
            edit_loss(outer, labels.to(logits.device)).mean(),
            divergence_loss(others, self._reference[drawn.others.to(logits.device)]).mean(),
            network.open_share(),
        )

    def _all_factors(self) -> dict[str, Factors]:
        """Return the factors of every label and text, ``[n_labels, n_texts, rank]``."""
        n_texts, n_labels = len(self._texts.texts), len(self._labels)
        found = edit_factors(
            self._engine,
            self._rows,
            torch.arange(n_texts).repeat(n_labels),
            torch.zeros(n_labels * n_texts, dtype=torch.int64),
            self._labels.repeat_interleave(n_texts),
            self.settings.rank,
        )
        return {weight: own.reshape(n_labels, n_texts, -1) for weight, own in found.items()}
