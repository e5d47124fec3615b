"""From a study to its trials: the full grid, one ablation at a time, and what a search asks."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InputError, Problem
from orchestrator.identity import content_hash
from orchestrator.labels import brief, label_of, labels_of
from orchestrator.spec import Range, StudySpec, path_problems

if TYPE_CHECKING:
    from orchestrator.objective import Objective

MOST_CELLS = 10_000
MOST_BLOCKS = 200_000
_FEW_TRIALS = 1_000  # so many are told apart also where the budget is lower


@dataclass(frozen=True)
class TrialPlan:
    """One configuration that a study tries.

    Attributes:
        number: Place in the study, counted from 0.
        trial_id: Hash of the objective's name and ``params``.
        params: Fully resolved, nested.
        changes: The value here of every path that varies anywhere in the study, in file order;
            None where the path lies inside something that is null here.
        label: ``base``, the ablation's name, or ``layers=2 weight=0.2``.
        baseline: Whether the others are compared with this one.
    """

    number: int
    trial_id: str
    params: dict[str, object]
    changes: dict[str, object]
    label: str
    baseline: bool


@dataclass(frozen=True)
class Expansion:
    """The trials of a study, of use only if there are no problems; lines are unknown here."""

    trials: tuple[TrialPlan, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class _Cell:
    section: str  # base, sweep, ablate.NAME or search.space
    changes: Mapping[str, object]
    places: Mapping[str, str]  # path to the place in the file that its value comes from


def expand(spec: StudySpec, objective: "Objective") -> tuple[TrialPlan, ...]:
    """List the trials of a study that sweeps or ablates.

    The base comes first if there are ablations or nothing else; then the full grid, its first
    path varying slowest; then each ablation. What resolves to the same parameters is one trial,
    under the label it had first. The baseline is what equals ``measure.baseline``, else the
    base, else the first trial.

    Args:
        spec: The study.
        objective: What resolves parameters.

    Returns:
        The trials; none for a search, whose trials come from ``trial_for``.

    Raises:
        InputError: If something is wrong; ``load_study`` has found that out already.
    """
    expansion = examine(spec, objective)
    if expansion.problems:
        raise InputError(spec.study, expansion.problems, "Nothing was launched.")
    return expansion.trials


def trial_for(
    spec: StudySpec, objective: "Objective", number: int, values: Mapping[str, object]
) -> TrialPlan:
    """Make a trial of a search.

    Args:
        spec: The study; its base filled.
        objective: What resolves parameters.
        number: Place in the study, counted from 0.
        values: What the sampler chose, for every path of the space.

    Returns:
        The trial; the baseline if it equals ``measure.baseline`` or, where the study names
        none, if it is number 0.

    Raises:
        InputError: If the objective refuses the values.
        KeyError: If a path leads nowhere in base.
        ValueError: If the study is no search.
    """
    if spec.search is None:
        raise ValueError(f"{spec.study} is no search: its trials come from expand")
    changes = {path: values[path] for path in spec.search.space}
    params, problems = objective.resolve(_overlaid(spec.base, changes))
    if problems:
        raise InputError(f"trial {number} of {spec.study}", problems, "It was not launched.")
    trial_id = _trial_id(objective, params)
    baseline = number == 0
    if spec.measure.baseline is not None:
        expected, _ = objective.resolve(_overlaid(spec.base, spec.measure.baseline))
        baseline = trial_id == _trial_id(objective, expected)
    label = label_of(_Cell("search.space", changes, {}))
    return TrialPlan(number, trial_id, params, _values_at(params, changes), label, baseline)


def examine(spec: StudySpec, objective: "Objective") -> Expansion:
    """Expand a study and say everything that is wrong with it.

    Args:
        spec: The study.
        objective: What resolves parameters; ``resolve`` fills in what it can even if there are
            problems, and what it has filled in resolves to itself.

    Returns:
        Trials and problems.
    """
    filled, base_problems = objective.resolve(spec.base)
    base = spec.base if base_problems else filled
    problems = [replace(one, place=f"base.{one.place}".rstrip(".")) for one in base_problems]
    lost = path_problems(spec, base)
    problems += lost
    spec = _without(spec, {problem.place for problem in lost})
    if (too_many := _too_many(spec)) is not None:
        return Expansion((), (*problems, too_many))

    def resolve(cell: _Cell) -> tuple[str, dict[str, object]]:
        params, failed = objective.resolve(overlay := _overlaid(base, cell.changes))
        failures.extend((cell, problem) for problem in failed if problem not in base_problems)
        params = overlay if failed else params
        return _trial_id(objective, params), params

    failures: list[tuple[_Cell, Problem]] = []
    trials: dict[str, dict[str, object]] = {}
    cells: dict[str, list[_Cell]] = {}
    for cell in _cells(spec):
        trial_id, params = resolve(cell)
        trials.setdefault(trial_id, params)
        cells.setdefault(trial_id, []).append(cell)
        if len(trials) > max(spec.budget.max_trials, _FEW_TRIALS):
            problems += [*_attributed(failures), _over_budget(spec, f"more than {_FEW_TRIALS:,}")]
            return Expansion((), tuple(problems))
    asked = spec.measure.baseline or {}
    places = {path: f"measure.baseline.{path}" for path in asked}
    baseline, _ = resolve(_Cell("measure.baseline", asked, places))
    problems += _attributed(failures)
    if not lost:
        problems += _budget_problems(spec, list(cells.values()))
    if spec.search is not None:
        return Expansion((), tuple(problems))
    if asked and baseline not in trials and not problems:
        changes = " ".join(f"{path}={brief(value)}" for path, value in asked.items())
        wanted = "name values that a trial has, or add them to sweep or ablate"
        problems.append(
            Problem("measure.baseline", None, f"no trial is base with {changes}", wanted)
        )
    if baseline not in trials:
        baseline = next(iter(trials))
    if not problems and (too_many := _too_many_blocks(objective, trials.values())) is not None:
        return Expansion((), (too_many,))
    paths = [*spec.sweep, *itertools.chain.from_iterable(spec.ablate.values())]
    labels = labels_of([same[0] for same in cells.values()])
    plans = (
        TrialPlan(number, key, params, _values_at(params, paths), label, key == baseline)
        for number, (label, (key, params)) in enumerate(zip(labels, trials.items(), strict=True))
    )
    return Expansion(tuple(plans), tuple(problems))


def _too_many(spec: StudySpec) -> Problem | None:
    """Refuse what could not be listed, before it is."""
    wanted = f"at most {MOST_CELLS:,}: "
    if (size := math.prod(map(len, spec.sweep.values()))) > MOST_CELLS:
        return Problem("sweep", None, f"{size:,} grid cells", wanted + "drop values, or search")
    if len(spec.ablate) > MOST_CELLS:
        return Problem("ablate", None, f"{len(spec.ablate):,} ablations", wanted + "drop some")
    if spec.search is not None and spec.search.trials > MOST_CELLS:
        found = f"{spec.search.trials:,} trials"
        return Problem("search.trials", None, found, wanted + "ask for fewer")
    return None


def _too_many_blocks(objective: "Objective", trials: Iterable[dict[str, object]]) -> Problem | None:
    n_blocks = 0
    for params in trials:
        n_blocks += len(objective.blocks(params))
        if n_blocks > MOST_BLOCKS:
            found = f"more than {MOST_BLOCKS:,} blocks"
            return Problem("base", None, found, "fewer trials, fewer streams, or larger blocks")
    return None


def get_path(params: Mapping[str, object], path: str) -> object:
    """Look a value up.

    Args:
        params: Nested.
        path: Dotted.

    Returns:
        The value there.

    Raises:
        KeyError: If the path leads nowhere.
    """
    node: object = params
    for key in path.split("."):
        if not isinstance(node, Mapping) or key not in node:
            raise KeyError(path)
        node = node[key]
    return node


def set_path(params: Mapping[str, object], path: str, value: object) -> dict[str, object]:
    """Return a copy with one value changed or added.

    Args:
        params: Nested; stays as it is, and shares with the copy what is off the path.
        path: Dotted; all but its last key must lead to mappings.
        value: What to put there.

    Returns:
        The copy.

    Raises:
        KeyError: If the path lies inside something that is missing, null or no mapping.
    """
    key, _, rest = path.partition(".")
    inner = params.get(key)
    if not rest:
        return {**params, key: value}
    if not isinstance(inner, Mapping):
        raise KeyError(path)
    return {**params, key: set_path(inner, rest, value)}


def _without(spec: StudySpec, places: set[str]) -> StudySpec:
    if not places:
        return spec

    def kept(section: str, entries: Mapping[str, Any] | None) -> dict[str, Any]:
        return {key: v for key, v in (entries or {}).items() if f"{section}.{key}" not in places}

    search = spec.search
    if search is not None:
        search = search.model_copy(update={"space": kept("search.space", search.space)})
    baseline = kept("measure.baseline", spec.measure.baseline)
    return spec.model_copy(
        update={
            "sweep": kept("sweep", spec.sweep),
            "ablate": {name: kept(f"ablate.{name}", one) for name, one in spec.ablate.items()},
            "search": search,
            "measure": spec.measure.model_copy(update={"baseline": baseline}),
        }
    )


def _overlaid(base: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    params = dict(base)
    for path, value in changes.items():
        params = set_path(params, path, value)
    return params


def _trial_id(objective: "Objective", params: dict[str, object]) -> str:
    return content_hash({"objective": objective.name, "params": params})


def _cells(spec: StudySpec) -> Iterator[_Cell]:
    """Yield what to try, in order; for a search, each value and bound of its space alone."""
    if spec.search is not None:
        for path, dimension in spec.search.space.items():
            if isinstance(dimension, Range):
                options = {".low": dimension.low, ".high": dimension.high}
            else:
                options = {f"[{index}]": value for index, value in enumerate(dimension)}
            for suffix, value in options.items():
                yield _Cell("search.space", {path: value}, {path: f"search.space.{path}{suffix}"})
        return
    if spec.ablate or not spec.sweep:
        yield _Cell("base", {}, {})
    if spec.sweep:
        for picks in itertools.product(*map(enumerate, spec.sweep.values())):
            chosen = dict(zip(spec.sweep, picks, strict=True))
            changes = {path: value for path, (_, value) in chosen.items()}
            places = {path: f"sweep.{path}[{index}]" for path, (index, _) in chosen.items()}
            yield _Cell("sweep", changes, places)
    for name, changes in spec.ablate.items():
        section = f"ablate.{name}"
        yield _Cell(section, changes, {path: f"{section}.{path}" for path in changes})


def _values_at(params: dict[str, object], paths: Iterable[str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for path in paths:
        try:
            values[path] = get_path(params, path)
        except KeyError:
            values[path] = None
    return values


def _attributed(failures: Sequence[tuple[_Cell, Problem]]) -> list[Problem]:
    """Lay each problem, once, at the value that brings it about."""
    problems: list[Problem] = []
    between: dict[tuple[str, Problem], list[_Cell]] = {}
    for cell, problem in failures:
        where = problem.place
        own = [
            path
            for path in cell.places
            if where == path or where.startswith((f"{path}.", f"{path}["))
        ]
        if own:
            place = cell.places[own[0]] + where.removeprefix(own[0])
            problems.append(replace(problem, place=place))
        elif cell.section != "search.space":  # where the other paths will not be as in base
            between.setdefault((cell.section, problem), []).append(cell)
    for (section, problem), cells in between.items():
        first = cells[0]
        common = [p for p in first.places if len({cell.places[p] for cell in cells}) == 1]
        blamed = common or list(first.places)
        place = first.places[blamed[0]] if len(blamed) == 1 else section
        setting = " ".join(f"{path}={brief(first.changes[path])}" for path in blamed)
        found = ": ".join(filter(None, (f"with {setting}", problem.place, problem.found)))
        problems.append(replace(problem, place=place, found=found))
    return list(dict.fromkeys(problems))


def _budget_problems(spec: StudySpec, trials: Sequence[Sequence[_Cell]]) -> list[Problem]:
    if spec.search is not None:
        count, arithmetic = spec.search.trials, "raise it, or lower search.trials"
    else:
        count = len(trials)
        kinds = Counter(
            "grid cell"
            if any(cell.section == "sweep" for cell in cells)
            else cells[0].section.partition(".")[0].replace("ablate", "ablation")
            for cells in trials
        )
        terms = ["base"] * kinds["base"]
        terms += [
            f"{n} {kind}{'s' * (n > 1)}" for kind in ("grid cell", "ablation") if (n := kinds[kind])
        ]
        remedy = "drop a value from sweep" if spec.sweep else "drop an ablation"
        arithmetic = f"{' + '.join(terms)} = {count}; raise it, or {remedy}"
    if count <= spec.budget.max_trials:
        return []
    return [replace(_over_budget(spec, f"the {count}"), wanted=arithmetic)]


def _over_budget(spec: StudySpec, count: str) -> Problem:
    default = "" if "max_trials" in spec.budget.model_fields_set else " (the default)"
    allowed = f"{spec.budget.max_trials}{default}"
    found = f"{allowed} is fewer than {count} trials this study expands to"
    return Problem("budget.max_trials", None, found, "raise it, or drop values")
