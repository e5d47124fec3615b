"""The verdict on a trial, step by step, from its own values and the trials told before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner
from optuna.samplers import RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from orchestrator.curves import PrunedAt
from orchestrator.spec import MedianPrunerSpec, PrunerSpec


@dataclass(frozen=True)
class Course:
    """What the pruner was told of a trial, and what it made of it.

    Attributes:
        values: Running value by step, up to the one at which the trial was pruned, if it was.
        marks: What the pruner notes on a trial to judge later ones by (rungs reached).
        pruned_at: Where it says that the trial ends; None if it may go on.
    """

    values: Mapping[int, float]
    marks: Mapping[str, Any]
    pruned_at: PrunedAt | None


class Judge:
    """Judges one trial with a pruner of Optuna, in a study of its own in memory.

    That study holds the trials that were told when this one was asked for, and nothing else, so
    that the verdict is the same whatever has happened since.
    """

    def __init__(
        self, pruner: PrunerSpec, direction: str, earlier: Sequence[FrozenTrial], *, spare: bool
    ) -> None:
        """Begin before the trial's first step.

        Args:
            pruner: Which pruner.
            direction: ``maximize`` or ``minimize``.
            earlier: The trials to judge by, with their values by step and their marks.
            spare: Follow the trial, and never prune it.
        """
        study = optuna.create_study(
            direction=StudyDirection[direction.upper()],
            sampler=RandomSampler(seed=0),
            pruner=_pruner(pruner),
        )
        study.add_trials(earlier)
        self._study, self._spare = study, spare
        self._trial = study.ask()
        self._pruned_at: PrunedAt | None = None

    def hear(self, step: int, value: float) -> bool:
        """Take in the next step, unless the trial is pruned; return whether it is."""
        if self._pruned_at is None:
            self._trial.report(value, step)
            if self._trial.should_prune() and not self._spare:
                self._pruned_at = PrunedAt(step, value)
        return self._pruned_at is not None

    @property
    def course(self) -> Course:
        """What was heard so far, and the verdict."""
        frozen = self._study.trials[self._trial.number]
        return Course(frozen.intermediate_values, frozen.system_attrs, self._pruned_at)


def _pruner(spec: PrunerSpec) -> BasePruner:
    if isinstance(spec, MedianPrunerSpec):
        return MedianPruner(
            n_startup_trials=spec.startup_trials,
            n_warmup_steps=spec.warmup_steps,
            interval_steps=spec.interval,
        )
    return SuccessiveHalvingPruner(
        min_resource=spec.min_resource,
        reduction_factor=spec.reduction_factor,
        min_early_stopping_rate=spec.min_early_stopping_rate,
    )
