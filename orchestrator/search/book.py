"""The book of trials: which exist and in what state, kept by Optuna; one writer, the driver."""

import contextlib
import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from orchestrator.errors import InputError, Problem, shown
from orchestrator.identity import canonical_json, content_hash
from orchestrator.plan import TrialPlan
from orchestrator.search.judging import Course
from orchestrator.spec import Range, SearchSpec

_CAREFUL = {"pool_pre_ping": True}
"""A database that was started anew is asked by new connections."""
_DEFINITION = "definition"
_TRIAL_ID = "trial_id"
_LABEL = "label"
Scalar = None | bool | int | float | str
_UNFINISHED = (TrialState.WAITING, TrialState.RUNNING)


class TrialBook:
    """An Optuna study that follows ours, and chooses parameters where we search.

    Contract: after ``open``, no trial is RUNNING or WAITING that the study does not have any
    more, whatever an earlier driver left behind.
    """

    def __init__(
        self,
        study: optuna.Study,
        search: SearchSpec | None,
        database: optuna.storages.RDBStorage,
    ) -> None:
        """Use :meth:`open`."""
        self._study = study
        self._search = search
        self._database = database
        self._planned: dict[int, int] = {}  # our number to the id in Optuna's storage

    @staticmethod
    def open(
        storage: str,
        name: str,
        *,
        definition: Mapping[str, object],
        directions: Mapping[str, str],
        search: SearchSpec | None,
    ) -> "TrialBook":
        """Open or create the study in Optuna's storage.

        Args:
            storage: A database URL.
            name: The study's name.
            definition: What decides which trials there are. If the study is there under another
                definition, it is kept as ``name@hash`` and a new one begins.
            directions: Metric to ``maximize`` or ``minimize``, in order.
            search: How to choose parameters; None if trials are planned.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        digest = content_hash(definition)
        database = optuna.storages.RDBStorage(storage, engine_kwargs=_CAREFUL)
        names = set(optuna.get_all_study_names(database))
        if name in names:
            old = optuna.load_study(study_name=name, storage=database)
            if old.user_attrs.get(_DEFINITION) != digest:
                _archive(old, database, name, names)
        study = optuna.create_study(
            storage=database,
            study_name=name,
            directions=[StudyDirection[direction.upper()] for direction in directions.values()],
            sampler=RandomSampler(seed=0),
            load_if_exists=True,
        )
        study.set_user_attr(_DEFINITION, digest)
        with warnings.catch_warnings():  # experimental since 3.2, and what names the axes in UIs
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(directions))
        return TrialBook(study, search, database)

    def close(self) -> None:
        """Give the connections to the database back; nothing can be asked or told any more."""
        self._database.remove_session()
        self._database.engine.dispose()

    # -- planned trials -------------------------------------------------------------------

    def register(self, plans: Sequence[TrialPlan]) -> None:
        """Make sure that every planned trial is in the book, and no other is unfinished.

        RUNNING trials of an earlier driver are adopted; a trial that failed is written anew.
        A trial is written with its values, at once: to enqueue it and to ask for it would read
        all that are unfinished, for each.
        """
        planned = {plan.trial_id for plan in plans}
        known: dict[str, int] = {}
        for frozen in self._study.get_trials(deepcopy=False):
            trial_id = frozen.user_attrs.get(_TRIAL_ID)
            if trial_id in planned and frozen.state in (TrialState.RUNNING, TrialState.COMPLETE):
                known[trial_id] = frozen._trial_id
            elif frozen.state in _UNFINISHED:
                _give_up(self._study, frozen)
        distributions = _planned_distributions(plans)
        for plan in plans:
            if plan.trial_id not in known:
                known[plan.trial_id] = self._study._storage.create_new_trial(
                    self._study._study_id,
                    optuna.trial.create_trial(
                        state=TrialState.RUNNING,
                        params={path: _scalar(plan.changes[path]) for path in distributions},
                        distributions=distributions,
                        user_attrs={_TRIAL_ID: plan.trial_id, _LABEL: plan.label},
                    ),
                )
            self._planned[plan.number] = known[plan.trial_id]

    # -- searched trials ------------------------------------------------------------------

    def asked(self) -> list[tuple[int, dict[str, object]]]:
        """Return number and values of every trial asked for so far, ended or not.

        A trial that an earlier driver created but did not live to choose values for is given
        its values now.
        """
        assert self._search is not None
        found = []
        for frozen in sorted(self._study.trials, key=lambda trial: trial.number):
            if frozen.state is TrialState.WAITING:
                continue  # enqueued, and not asked for yet
            if self._search.space.keys() <= frozen.params.keys():
                values = self._values(frozen.params)
            else:
                values = self._suggest(self._adopted(frozen))
            found.append((frozen.number, values))
        return found

    def begin_with(self, values: Mapping[str, object]) -> None:
        """Let the first trial try ``values``, unless there are trials already.

        Raises:
            InputError: If a value is not in the search's space.
        """
        assert self._search is not None
        for path, dimension in self._search.space.items():
            if not _holds(_searched_distribution(dimension), _scalar(values[path])):
                place, found = f"measure.baseline.{path}", f"{shown(values[path])} is not searched"
                problem = Problem(place, None, found, f"a value within search.space.{path}")
                raise InputError(self._study.study_name, [problem], "Nothing was launched.")
        if not self._study.get_trials(deepcopy=False):
            self._study.enqueue_trial({path: _scalar(value) for path, value in values.items()})

    def ask(self) -> tuple[int, dict[str, object]]:
        """Choose the values of the next trial.

        The sampler is made anew for each trial and path from the seed, the trial's number and
        the path, so that a search that was killed anywhere goes on choosing as an uninterrupted
        one would. A trial that an outage kept from getting its values is the next one.
        """
        assert self._search is not None
        paths = self._search.space.keys()
        for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not paths <= frozen.params.keys():
                return frozen.number, self._suggest(self._adopted(frozen))
        trial = self._study.ask()
        return trial.number, self._suggest(trial)

    def told_when_asked(self, number: int) -> list[FrozenTrial]:
        """Return the trials that were told when one was asked for, as they were told then.

        Those that failed are left out: how far they came was chance. A trial that failed and
        completes in a later run stays out, as for the sampler.
        """
        assert self._search is not None
        last = number - self._search.parallel
        finished = (TrialState.COMPLETE, TrialState.PRUNED)
        return [
            optuna.trial.create_trial(
                state=told.state,
                values=told.values,
                intermediate_values=told.intermediate_values,
                system_attrs=told.system_attrs,
            )
            for told in self._study.get_trials(deepcopy=False, states=finished)
            if told.number <= last
        ]

    # -- both -----------------------------------------------------------------------------

    def tell(
        self, number: int, values: Sequence[float] | None, course: Course | None = None
    ) -> None:
        """Write down how a trial ended.

        Args:
            number: The trial's number in our study.
            values: One for each direction; None if it was pruned or failed, or a value is
                undefined.
            course: What its pruner was told, if the study has one and the trial did not fail.
        """
        if course is not None:
            self._write(number, course)
            if course.pruned_at is not None:
                self._study.tell(number, state=TrialState.PRUNED, skip_if_finished=True)
                return
        state = TrialState.COMPLETE if values is not None else TrialState.FAIL
        found = None if values is None else list(values)
        if number not in self._planned:
            self._study.tell(number, values=found, state=state, skip_if_finished=True)
            return
        # No sampler learns from a planned trial, so that the storage alone is told.
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._study._storage.set_trial_state_values(self._planned[number], state, found)

    def _write(self, number: int, course: Course) -> None:
        """Write down a course; one that was written before stays as it is."""
        storage = self._study._storage
        trial = storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
        if storage.get_trial(trial).state.is_finished():
            return
        for step, value in course.values.items():
            storage.set_trial_intermediate_value(trial, step, value)
        for name, mark in course.marks.items():
            storage.set_trial_system_attr(trial, name, mark)

    def _suggest(self, trial: optuna.Trial) -> dict[str, object]:
        assert self._search is not None
        self._study.sampler = _sampler(self._search, trial.number, "")
        _ = trial.relative_params  # what is chosen jointly is chosen here
        for path, dimension in self._search.space.items():
            self._study.sampler = _sampler(self._search, trial.number, path)
            trial._suggest(path, _searched_distribution(dimension))
        return self._values(trial.params)

    def _adopted(self, frozen: optuna.trial.FrozenTrial) -> optuna.trial.Trial:
        return optuna.trial.Trial(self._study, frozen._trial_id)

    def _values(self, params: Mapping[str, object]) -> dict[str, object]:
        """Return what Optuna chose, with lists and mappings as the study file has them."""
        assert self._search is not None
        values = {}
        for path, dimension in self._search.space.items():
            value = params[path]
            if isinstance(dimension, list):
                value = next(choice for choice in dimension if _scalar(choice) == value)
            values[path] = value
        return values


def _sampler(search: SearchSpec, number: int, path: str) -> BaseSampler:
    digest = content_hash({"seed": search.seed, "trial": number, "path": path})
    seed = int(digest[:8], 16)
    if search.sampler == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed)


def _searched_distribution(dimension: "Range | list[object]") -> BaseDistribution:
    if isinstance(dimension, list):
        return CategoricalDistribution([_scalar(value) for value in dimension])
    if dimension.whole:
        step = 1 if dimension.step is None else int(dimension.step)
        return IntDistribution(int(dimension.low), int(dimension.high), dimension.log, step)
    return FloatDistribution(dimension.low, dimension.high, dimension.log, dimension.step)


def _holds(distribution: BaseDistribution, value: Scalar) -> bool:
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:  # no choice of those there are, or no number
        return False


def _planned_distributions(plans: Sequence[TrialPlan]) -> dict[str, BaseDistribution]:
    """Let Optuna see numbers as numbers where a path has only numbers."""
    paths = list(plans[0].changes) if plans else []
    found: dict[str, BaseDistribution] = {}
    for path in paths:
        values = [_scalar(plan.changes[path]) for plan in plans]
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) < len(values):
            found[path] = CategoricalDistribution(list(dict.fromkeys(values)))
        elif all(isinstance(number, int) for number in numbers):
            found[path] = IntDistribution(int(min(numbers)), int(max(numbers)))
        else:
            found[path] = FloatDistribution(min(numbers), max(numbers))
    return found


def _scalar(value: object) -> Scalar:
    """Return a value as Optuna can keep it: lists and mappings as JSON text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return canonical_json(value)


def _give_up(study: optuna.Study, frozen: optuna.trial.FrozenTrial) -> None:
    """Fail a trial that nobody will end any more; ``tell`` refuses one that still waits."""
    study._storage.set_trial_state_values(frozen._trial_id, TrialState.FAIL)


def _archive(
    study: optuna.Study, storage: optuna.storages.BaseStorage, name: str, names: set[str]
) -> None:
    """Keep a study under another name, with nothing left running in it."""
    for frozen in study.get_trials(deepcopy=False, states=_UNFINISHED):
        _give_up(study, frozen)
    kept = f"{name}@{str(study.user_attrs.get(_DEFINITION, 'unknown'))[:12]}"
    if kept in names:
        optuna.delete_study(study_name=kept, storage=storage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.copy_study(
            from_study_name=name, from_storage=storage, to_storage=storage, to_study_name=kept
        )
    optuna.delete_study(study_name=name, storage=storage)
