"""Adam over independent edits stacked along the first dimension."""

from collections.abc import Sequence

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from mpn.settings import Settings

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class PlateauSettings(Settings):
    """Lower an edit's learning rate when its loss stands still.

    Attributes:
        factor: What the rate is multiplied with.
        patience: Checks without improvement that are let pass.
        threshold: Relative improvement that counts.
    """

    factor: PositiveFloat = 0.5
    patience: int = 1
    threshold: NonNegativeFloat = 0.05


class OptimizerSettings(Settings):
    """Adam; the defaults are the reference's.

    Attributes:
        lr: Learning rate.
        weight_decay: L2 penalty, added to the gradient.
        clip: Largest norm of one edit's gradient; ``null`` does not clip.
        max_steps: Steps after which an edit ends in any case.
        plateau: Schedule of the learning rate; ``null`` keeps it.
    """

    lr: PositiveFloat = 0.01
    weight_decay: NonNegativeFloat = 0.01
    clip: PositiveFloat | None = 5.0
    max_steps: PositiveInt = 2000
    plateau: PlateauSettings | None = PlateauSettings()


class BatchedAdam:
    """``torch.optim.Adam`` for each edit alone: own clipping, own rate, and edits can leave."""

    def __init__(self, leaves: Sequence[Tensor], settings: OptimizerSettings) -> None:
        """Start.

        Args:
            leaves: Parameters, each ``[n_edits, ...]``; updated in place.
            settings: Rate, decay, clipping.
        """
        self.leaves = list(leaves)
        self._settings = settings
        self._means = [torch.zeros_like(leaf) for leaf in leaves]
        self._squares = [torch.zeros_like(leaf) for leaf in leaves]
        self._rates = torch.full(
            (len(leaves[0]),), settings.lr, dtype=leaves[0].dtype, device=leaves[0].device
        )
        self._best = torch.full_like(self._rates, torch.inf)
        self._bad_checks = torch.zeros_like(self._rates, dtype=torch.int64)
        self._n_steps = 0

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Take one step along ``gradients``, shaped as the leaves."""
        self._n_steps += 1
        scale = self._clip_scale(gradients)
        rates = self._rates / (1 - _BETAS[0] ** self._n_steps)
        root_correction = (1 - _BETAS[1] ** self._n_steps) ** 0.5
        for leaf, gradient, mean, square in zip(
            self.leaves, gradients, self._means, self._squares, strict=True
        ):
            if scale is not None:
                gradient = gradient * _along(scale, gradient)
            if self._settings.weight_decay:
                gradient = gradient + self._settings.weight_decay * leaf
            mean.lerp_(gradient, 1 - _BETAS[0])
            square.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
            denominator = square.sqrt().div_(root_correction).add_(_EPSILON)
            leaf.sub_(mean / denominator * _along(rates, leaf))

    @torch.no_grad()
    def check(self, losses: Tensor) -> None:
        """Let the plateau schedule see the losses, ``[n_edits]``."""
        plateau = self._settings.plateau
        if plateau is None:
            return
        better = losses < self._best * (1 - plateau.threshold)
        self._best = torch.where(better, losses, self._best)
        self._bad_checks = torch.where(better, 0, self._bad_checks + 1)
        stuck = self._bad_checks > plateau.patience
        self._rates = torch.where(stuck, self._rates * plateau.factor, self._rates)
        self._bad_checks[stuck] = 0

    @torch.no_grad()
    def keep(self, staying: Tensor) -> None:
        """Drop all edits but those at the indices ``staying``."""
        self.leaves = [leaf[staying].requires_grad_() for leaf in self.leaves]
        self._means = [mean[staying] for mean in self._means]
        self._squares = [square[staying] for square in self._squares]
        self._rates = self._rates[staying]
        self._best = self._best[staying]
        self._bad_checks = self._bad_checks[staying]

    def _clip_scale(self, gradients: Sequence[Tensor]) -> Tensor | None:
        """Return what each edit's gradient is multiplied with, as ``clip_grad_norm_`` does."""
        if self._settings.clip is None:
            return None
        squares = [gradient.flatten(1).square().sum(1) for gradient in gradients]
        norms = torch.stack(squares).sum(0).sqrt()
        return (self._settings.clip / (norms + 1e-6)).clamp(max=1.0)


def _along(per_edit: Tensor, like: Tensor) -> Tensor:
    """Shape ``[n_edits]`` to broadcast over ``like``."""
    return per_edit.reshape(-1, *[1] * (like.dim() - 1))
