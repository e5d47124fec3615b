"""MPN's one change: which parallel versions an editor sees beside the source.

Source: Si, Zhang, Zhang, MPN (arXiv 2401.03190). Whether the languages are drawn anew at each
step or once per edit, which query the key starts from, and the ratio of source to parallel rows
could not be read in the paper; all of it is a setting here.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from mpn.errors import MpnInputError
from mpn.languages import distance
from mpn.seeding import torch_generator
from mpn.settings import Settings

_CANDIDATES = "pairing.candidates"
Ratio = Annotated[list[PositiveInt], Field(min_length=2, max_length=2)]


class PairingSettings(Settings):
    """A pairing policy; ``languages: 0`` leaves the monolingual editor.

    Attributes:
        languages: How many paired languages stand beside the source in an edit batch.
        candidates: Which languages may be paired.
        choice: ``fixed``: the stream draws its languages once and always uses all of them, so
            that the others stay unseen. ``typological``: as fixed, but each language is one of
            those farthest from the source and all before it, by family, branch and script.
            ``random``: each draw takes others.
        redraw: For ``random``: draw at every step, or once per edit.
        weights: Which languages are drawn more often: none; or, ``inverse_accuracy``, those in
            which the base model is less accurate, with a weight of one over its accuracy.
        ratio: Rows of the source, and rows of each paired language, in the edit batch. Losses are
            means over rows: with k languages and ``[a, b]`` the source has a of a + b k parts.
        key_init: Query that a key starts from: the source's, or the mean over the edit batch
            of the first step.
    """

    languages: NonNegativeInt | Literal["all"] = 0
    candidates: Literal["all"] | list[str] = "all"
    choice: Literal["random", "fixed", "typological"] = "random"
    redraw: Literal["per_step", "per_edit"] = "per_step"
    weights: Literal["uniform", "inverse_accuracy"] = "uniform"
    ratio: Ratio = Field(default_factory=lambda: [1, 1])
    key_init: Literal["source", "mean"] = "source"

    def may_draw(self, targets: Sequence[str]) -> tuple[str, ...]:
        """Return the candidates.

        Args:
            targets: Every language but the source.

        Raises:
            MpnInputError: If a candidate is no target language, more languages are to be paired
                than there are candidates, or weights are given to a choice that draws nothing.
        """
        candidates = list(targets) if self.candidates == "all" else list(self.candidates)
        unknown = sorted(set(candidates) - set(targets))
        if unknown:
            raise MpnInputError(
                _CANDIDATES,
                f"{', '.join(unknown)} cannot be paired",
                f"the corpus has, beside the source, {' '.join(targets)}",
            )
        if self.choice == "typological" and self.weights != "uniform":
            raise MpnInputError(
                "pairing.weights",
                f"{self.weights} with choice: typological, which draws nothing",
                "write weights: uniform, or choice: fixed",
            )
        self.count(len(candidates))
        return tuple(candidates)

    def drawn_from(
        self,
        targets: Sequence[str],
        *,
        source: str,
        seed: int,
        stream: int,
        weights: Tensor | None = None,
    ) -> tuple[str, ...]:
        """Return the languages that this stream's edits may be paired with, in drawing order.

        A choice of few languages that stay is a prefix of the same stream's choice of more, so
        that trials with different numbers are compared on nested sets.

        Args:
            targets: Every language but the source.
            source: The source language.
            seed: The study's seed.
            stream: Number of the stream.
            weights: How often each of :meth:`may_draw` is drawn, positive, ``[n_candidates]``;
                None: all alike.

        Returns:
            Languages out of ``candidates``: those that count as seen, but for ``per_edit``
            draws, of which each edit sees its own.

        Raises:
            MpnInputError: See :meth:`may_draw`; or if a language has no known lineage, where
                that is asked for.
        """
        candidates = self.may_draw(targets)
        n = self.count(len(candidates))
        if n == 0:
            return ()
        if self.choice == "random":
            return candidates
        generator = torch_generator(seed, "paired languages", stream)
        if weights is None:
            order = torch.randperm(len(candidates), generator=generator)
        else:
            order = _weighted_order(1, weights, generator)[0]
        shuffled = [candidates[i] for i in order.tolist()]
        if self.choice == "typological":
            shuffled = farthest_first(shuffled, source)
        return tuple(shuffled[:n])

    def seen(
        self,
        drawn_from: Sequence[str],
        *,
        seed: int,
        stream: int,
        edit: int,
        weights: Tensor | None = None,
    ) -> frozenset[str]:
        """Return the languages that one edit is trained on beside the source."""
        if self.redraw == "per_step":
            return frozenset(drawn_from)
        row = self.schedule(
            len(drawn_from), n_steps=1, seed=seed, stream=stream, edit=edit, weights=weights
        )[0]
        return frozenset(drawn_from[i - 1] for i in row.tolist() if i)

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
        self,
        n_drawn_from: int,
        *,
        n_steps: int,
        seed: int,
        stream: int,
        edit: int,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Return which rows make up the edit batch at each step.

        Args:
            n_drawn_from: Number of languages that :meth:`drawn_from` returned.
            n_steps: Number of gradient steps.
            seed: The study's seed.
            stream: Number of the stream.
            edit: Position of the edit in the stream.
            weights: How often each of those languages is drawn, ``[n_drawn_from]``; None: all
                alike.

        Returns:
            int64 ``[n_steps, n_rows]``: 0 is the source, i the i-th language of
            :meth:`drawn_from`. The source comes first in every row; ``ratio`` repeats it, and
            what is paired with it as a whole.
        """
        n_source, n_parallel = self.ratio
        source = torch.zeros(n_steps, n_source, dtype=torch.int64)
        if n_drawn_from == 0:
            return source[:, :1]
        if self.choice != "random" or self.languages == "all":
            paired = torch.arange(1, n_drawn_from + 1).expand(n_steps, -1)
        else:
            n_draws = n_steps if self.redraw == "per_step" else 1
            generator = torch_generator(seed, "pairing", stream, edit)
            if weights is None:
                order = torch.rand(n_draws, n_drawn_from, generator=generator).argsort(-1)
            else:
                order = _weighted_order(n_draws, weights, generator)
            paired = (order[:, : self.count(n_drawn_from)] + 1).expand(n_steps, -1)
        return torch.cat([source, paired.repeat(1, n_parallel)], 1)


def inverse_accuracies(accuracies: Sequence[float], n_texts: int) -> Tensor:
    """Return weights by which the languages are drawn in which a model is less accurate.

    Args:
        accuracies: In each language, in [0, 1].
        n_texts: Texts that they were measured on; no accuracy counts as less than one of them.

    Returns:
        One over each accuracy, ``[n_languages]``.
    """
    return 1 / torch.tensor(accuracies, dtype=torch.float64).clamp_min(1 / n_texts)


def farthest_first(languages: Sequence[str], source: str) -> list[str]:
    """Order languages so that each is as far as can be from the source and all before it.

    Args:
        languages: Which; of several equally far the first comes first.
        source: Where to start.

    Raises:
        MpnInputError: If the lineage of one is not known.
    """
    left = {tag: distance(source, tag, place=_CANDIDATES) for tag in languages}
    order = []
    while left:
        farthest = max(left, key=left.__getitem__)  # the first of the farthest
        order.append(farthest)
        del left[farthest]
        for tag in left:
            left[tag] = min(left[tag], distance(farthest, tag, place=_CANDIDATES))
    return order


def _weighted_order(n: int, weights: Tensor, generator: torch.Generator) -> Tensor:
    """Draw all languages one after another, each by its weight, int64 ``[n, n_languages]``.

    Source: Efraimidis and Spirakis (2006): waiting times with these rates, in order.
    """
    uniform = torch.rand(n, len(weights), generator=generator, dtype=torch.float64)
    return (-uniform.log() / weights).argsort(-1)
