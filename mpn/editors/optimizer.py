"""Adam over independent edits stacked along the first dimension."""

from collections.abc import Mapping

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

    def __init__(self, parameters: Tensor, settings: OptimizerSettings) -> None:
        """Start.

        Args:
            parameters: All of each edit's in one row, ``[n_edits, n]``; updated in place.
            settings: Rate, decay, clipping.
        """
        self.parameters = parameters
        self._settings = settings
        self._means = torch.zeros_like(parameters)
        self._squares = torch.zeros_like(parameters)
        self._rates = parameters.new_full((len(parameters), 1), settings.lr)
        self._best = torch.full_like(self._rates, torch.inf)
        self._bad_checks = torch.zeros_like(self._rates, dtype=torch.int64)
        self._n_steps = 0

    @torch.no_grad()
    def step(self, gradients: Tensor) -> None:
        """Take one step along ``gradients``, shaped as the parameters."""
        self._n_steps += 1
        if self._settings.clip is not None:  # as clip_grad_norm_ does, for each edit
            norms = gradients.norm(dim=1, keepdim=True)
            gradients = gradients * (self._settings.clip / (norms + 1e-6)).clamp(max=1.0)
        if self._settings.weight_decay:
            gradients = gradients + self._settings.weight_decay * self.parameters
        self._means.lerp_(gradients, 1 - _BETAS[0])
        self._squares.mul_(_BETAS[1]).addcmul_(gradients, gradients, value=1 - _BETAS[1])
        root_correction = (1 - _BETAS[1] ** self._n_steps) ** 0.5
        denominators = self._squares.sqrt().div_(root_correction).add_(_EPSILON)
        rates = self._rates / (1 - _BETAS[0] ** self._n_steps)
        self.parameters.sub_(self._means / denominators * rates)

    def state(self) -> dict[str, Tensor]:
        """Return all that the next step depends on, by name; overwritten by the next step."""
        return {
            "parameters": self.parameters.detach(),
            "means": self._means,
            "squares": self._squares,
            "rates": self._rates,
            "best": self._best,
            "bad_checks": self._bad_checks,
            "n_steps": torch.tensor(self._n_steps),
        }

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what :meth:`state` returned."""
        self.parameters.copy_(state["parameters"])
        self._means.copy_(state["means"])
        self._squares.copy_(state["squares"])
        self._rates.copy_(state["rates"])
        self._best.copy_(state["best"])
        self._bad_checks.copy_(state["bad_checks"])
        self._n_steps = int(state["n_steps"])

    @torch.no_grad()
    def check(self, losses: Tensor) -> None:
        """Let the plateau schedule see the losses, ``[n_edits]``."""
        plateau = self._settings.plateau
        if plateau is None:
            return
        losses = losses[:, None]
        better = losses < self._best * (1 - plateau.threshold)
        self._best = torch.where(better, losses, self._best)
        self._bad_checks = torch.where(better, 0, self._bad_checks + 1)
        stuck = self._bad_checks > plateau.patience
        self._rates = torch.where(stuck, self._rates * plateau.factor, self._rates)
        self._bad_checks[stuck] = 0

    @torch.no_grad()
    def keep(self, staying: Tensor) -> None:
        """Drop all edits but those that stay, bool ``[n_edits]``."""
        self.parameters = self.parameters[staying].requires_grad_()
        self._means = self._means[staying]
        self._squares = self._squares[staying]
        self._rates = self._rates[staying]
        self._best = self._best[staying]
        self._bad_checks = self._bad_checks[staying]
