"""MPN's one change: which parallel versions an editor sees beside the source.

Source: Si, Zhang, Zhang, MPN (arXiv 2401.03190). Whether the languages are drawn anew at each
step or once per edit, and which query the key starts from, could not be read in the paper; all
of it is a setting here.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import NonNegativeInt
from torch import Tensor

from mpn.errors import MpnInputError
from mpn.seeding import torch_generator
from mpn.settings import Settings


class PairingSettings(Settings):
    """A pairing policy; ``languages: 0`` leaves the monolingual editor.

    Attributes:
        languages: How many paired languages stand beside the source in an edit batch.
        candidates: Which languages may be paired.
        choice: ``fixed``: the stream draws its languages once and always uses all of them, so
            that the others stay unseen. ``random``: each draw takes others.
        redraw: For ``random``: draw at every step, or once per edit.
        key_init: Query that a key starts from: the source's, or the mean over the edit batch
            of the first step.
    """

    languages: NonNegativeInt | Literal["all"] = 0
    candidates: Literal["all"] | list[str] = "all"
    choice: Literal["random", "fixed"] = "random"
    redraw: Literal["per_step", "per_edit"] = "per_step"
    key_init: Literal["source", "mean"] = "source"

    def drawn_from(self, targets: Sequence[str], *, seed: int, stream: int) -> tuple[str, ...]:
        """Return the languages that this stream's edits may be paired with, in drawing order.

        A fixed choice of few languages is a prefix of the same stream's choice of more, so that
        trials with different numbers are compared on nested sets.

        Args:
            targets: Every language but the source.
            seed: The study's seed.
            stream: Number of the stream.

        Returns:
            Languages out of ``candidates``: those that count as seen, but for ``per_edit``
            draws, of which each edit sees its own.

        Raises:
            MpnInputError: If a candidate is no target language, or more languages are to be
                paired than there are candidates.
        """
        candidates = list(targets) if self.candidates == "all" else list(self.candidates)
        unknown = sorted(set(candidates) - set(targets))
        if unknown:
            raise MpnInputError(
                "pairing.candidates",
                f"{', '.join(unknown)} cannot be paired",
                f"the corpus has, beside the source, {' '.join(targets)}",
            )
        n = self.count(len(candidates))
        if n == 0:
            return ()
        if self.choice == "random":
            return tuple(candidates)
        order = torch.randperm(
            len(candidates), generator=torch_generator(seed, "paired languages", stream)
        )
        return tuple(candidates[i] for i in order[:n].tolist())

    def seen(
        self, drawn_from: Sequence[str], *, seed: int, stream: int, edit: int
    ) -> frozenset[str]:
        """Return the languages that one edit is trained on beside the source."""
        if self.redraw == "per_step":
            return frozenset(drawn_from)
        row = self.schedule(len(drawn_from), n_steps=1, seed=seed, stream=stream, edit=edit)[0]
        return frozenset(drawn_from[i - 1] for i in row[1:].tolist())

    def count(self, n_candidates: int) -> int:
        """Return how many languages are paired at once.

        Raises:
            MpnInputError: If ``languages`` is more than ``n_candidates``.
        """
        if self.languages == "all":
            return n_candidates
        if self.languages > n_candidates:
            raise MpnInputError(
                "pairing.languages",
                f"{self.languages} paired languages, {n_candidates} candidates",
                f"write at most {n_candidates}, or all",
            )
        return self.languages

    def schedule(
        self, n_drawn_from: int, *, n_steps: int, seed: int, stream: int, edit: int
    ) -> Tensor:
        """Return which rows make up the edit batch at each step.

        Args:
            n_drawn_from: Number of languages that :meth:`drawn_from` returned.
            n_steps: Number of gradient steps.
            seed: The study's seed.
            stream: Number of the stream.
            edit: Position of the edit in the stream.

        Returns:
            int64 ``[n_steps, 1 + n_paired]``: 0 is the source, i the i-th language of
            :meth:`drawn_from`. The source comes first in every row.
        """
        source = torch.zeros(n_steps, 1, dtype=torch.int64)
        if n_drawn_from == 0:
            return source
        if self.choice == "fixed" or self.languages == "all":
            paired = torch.arange(1, n_drawn_from + 1).expand(n_steps, -1)
            return torch.cat([source, paired], 1)
        n_draws = n_steps if self.redraw == "per_step" else 1
        noise = torch.rand(
            n_draws, n_drawn_from, generator=torch_generator(seed, "pairing", stream, edit)
        )
        paired = noise.argsort(-1)[:, : self.count(n_drawn_from)] + 1
        return torch.cat([source, paired.expand(n_steps, -1)], 1)
