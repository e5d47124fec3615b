"""What a study file may say: frozen, typed, and every deviation put into words."""

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from orchestrator.errors import Problem, refusal, shown, suggestion
from orchestrator.identity import canonical_json
from orchestrator.resources import BudgetSpec, Part, ResourcesSpec, RetrySpec

_STUDY_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ABLATION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_RESERVED = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")
NOT_IN_BASE = "not in base"


def is_study_name(name: str) -> bool:
    """Whether a study may be called so; its name is part of paths and addresses."""
    return _STUDY_NAME.fullmatch(name) is not None and ".." not in name


def _study_name(name: str) -> str:
    if not is_study_name(name):
        raise refusal(f"{shown(name)} is not a study name", STUDY_NAME_RULE)
    if _RESERVED.fullmatch(name.partition(".")[0]):
        raise refusal(f"{shown(name)} is no file on some systems", "another name")
    return name


def _ablation_name(name: str) -> str:
    if name == "base":
        raise refusal("'base' is what the unchanged trial is called", "choose another name")
    if not _ABLATION_NAME.fullmatch(name):
        raise refusal(
            f"{shown(name)} is not a name for an ablation",
            "letters, digits, '_' and '-', at most 64, a letter or digit first",
        )
    return name


def _said(text: str) -> str:
    if not text.strip():
        raise refusal("nothing is said here", "one sentence")
    return text


def _distinct(values: list[Any]) -> list[Any]:
    if not values:
        raise refusal("no values", "list at least one, or remove the line")
    seen: set[str] = set()
    for value in values:
        if (text := canonical_json(value)) in seen:
            raise refusal(f"{shown(value)} is listed twice", "list each value once")
        seen.add(text)
    return values


def _number(value: Any) -> Any:
    if type(value) not in (int, float):
        raise refusal(f"{shown(value)} is not a number", "a number")
    return value


STUDY_NAME_RULE = (
    "lower-case letters, digits, '.', '_' and '-', at most 64, a letter or digit first, no '..'"
)
Values = Annotated[list[Any], AfterValidator(_distinct)]
Changes = Annotated[dict[str, Any], Field(min_length=1)]
Number = Annotated[int | float, PlainValidator(_number)]  # an int stays an int, also in JSON


class Range(Part):
    """The numbers from ``low`` to ``high``, both included; whole if both bounds are."""

    low: Number = Field(description="a number")
    high: Number = Field(description="a number above low")
    log: bool = Field(False, description="true to search on a logarithmic scale")
    step: Number | None = Field(None, description="a number above 0")

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.low >= self.high:
            raise refusal(f"low {self.low} is not below high {self.high}", "low < high")
        if self.log and self.low <= 0:
            raise refusal(f"a logarithmic scale from low {self.low}", "low > 0, or log: false")
        if self.step is None:
            return self
        if self.log:
            raise refusal("both log and step", "one of the two")
        if self.step <= 0 or (self.whole and not isinstance(self.step, int)):
            kind = "a whole number" if self.whole else "a number"
            raise refusal(f"step {self.step}", f"{kind} above 0")
        # decimals, since 0.3 is not a multiple of 0.1 in binary
        width = Decimal(str(self.high)) - Decimal(str(self.low))
        try:
            left = width % Decimal(str(self.step))
        except InvalidOperation:
            raise refusal(f"step {self.step} is too small", "a larger step, or none") from None
        if left:
            raise refusal(
                f"step {self.step} does not lead from {self.low} to {self.high}",
                "high is low plus a whole number of steps",
            )
        return self


def _kind_of_dimension(value: Any) -> str:
    return "<values>" if isinstance(value, list) else "<range>"


Dimension = Annotated[
    Annotated[Values, Tag("<values>")] | Annotated[Range, Tag("<range>")],
    Discriminator(_kind_of_dimension),
]


class MedianPrunerSpec(Part):
    """Stops a trial whose best running value is worse than the others' median at that step."""

    name: Literal["median"] = Field(description="median or successive_halving")
    startup_trials: int = Field(5, ge=0, description="a whole number of trials, at least 0")
    warmup_steps: int = Field(0, ge=0, description="a whole number of steps, at least 0")
    interval: int = Field(1, ge=1, description="a whole number of steps, at least 1")


class HalvingPrunerSpec(Part):
    """Stops a trial that is not among the best 1 / ``reduction_factor`` at a rung.

    Rung k, counted from 0, is at step
    ``min_resource * reduction_factor ** (min_early_stopping_rate + k)``.
    """

    name: Literal["successive_halving"] = Field(description="median or successive_halving")
    min_resource: int = Field(1, ge=1, description="a whole number of steps, at least 1")
    reduction_factor: int = Field(4, ge=2, description="a whole number, at least 2")
    min_early_stopping_rate: int = Field(0, ge=0, description="a whole number, at least 0")


def _kind_of_pruner(value: Any) -> str:
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    return f"<{name or 'median'}>"


PrunerSpec = Annotated[
    Annotated[MedianPrunerSpec, Tag("<median>")]
    | Annotated[HalvingPrunerSpec, Tag("<successive_halving>")],
    Discriminator(_kind_of_pruner),
]


class SearchSpec(Part):
    """Trials chosen one after another by what the earlier ones showed.

    ``parallel`` is part of the definition: it decides what the sampler knows when it chooses.
    """

    trials: int = Field(ge=1, description="a whole number, at least 1")
    sampler: Literal["tpe", "random"] = Field(description="tpe or random")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="a whole number from 0 to 2**32 - 1")
    parallel: int = Field(4, ge=1, description="a whole number, at least 1")
    space: dict[str, Dimension] = Field(
        min_length=1, description="for each path a list of values, or {low: ..., high: ...}"
    )
    objectives: dict[str, Literal["maximize", "minimize"]] = Field(
        min_length=1, description="metric: maximize or minimize, for at least one metric"
    )
    pruner: PrunerSpec | None = Field(
        None, description="{name: median} or {name: successive_halving}, or null for none"
    )

    @field_validator("pruner")
    @classmethod
    def _one_objective(cls, pruner: PrunerSpec | None, info: ValidationInfo) -> PrunerSpec | None:
        n_objectives = len(info.data.get("objectives", ("unknown",)))
        if pruner is not None and n_objectives > 1:
            raise refusal(
                f"a pruner with {n_objectives} objectives",
                "one objective, by which running trials can be ranked; or no pruner",
            )
        return pruner


class IntervalSpec(Part):
    """How sure the intervals around differences are to be."""

    level: float = Field(0.95, gt=0, lt=1, description="a number between 0 and 1, exclusive")


class MeasureSpec(Part):
    """What is compared, and with what."""

    primary: str = Field(description="the metric that answers the question")
    guard: list[str] = Field([], description="a list of metrics that must not suffer")
    baseline: Changes | None = Field(
        None, description="a mapping from paths to values: what the baseline changes in base"
    )
    interval: IntervalSpec = Field(IntervalSpec(), description="a mapping: {level: 0.95}")


class StudySpec(Part):
    """A question, and everything that is done to answer it. ``load_study`` fills ``base``."""

    study: Annotated[str, AfterValidator(_study_name)] = Field(description=STUDY_NAME_RULE)
    question: Annotated[str, AfterValidator(_said)] = Field(description="one sentence")
    expect: Annotated[str, AfterValidator(_said)] | None = Field(None, description="one sentence")
    objective: str = Field(description="the name of a registered objective")
    base: dict[str, Any] = Field(description="a mapping: the parameters that all trials share")
    sweep: dict[str, Values] = Field({}, description="for each path a list of values")
    ablate: dict[Annotated[str, AfterValidator(_ablation_name)], Changes] = Field(
        {}, description="for each name a mapping from paths to values"
    )
    search: SearchSpec | None = Field(None, description="a mapping with trials, sampler, space ...")
    measure: MeasureSpec = Field(description="a mapping: primary, guard, baseline, interval")
    budget: BudgetSpec = Field(BudgetSpec(), description="a mapping: {max_trials: 200}")
    resources: ResourcesSpec = Field(ResourcesSpec(), description="a mapping: {gpus: 1}")
    retry: RetrySpec = Field(RetrySpec(), description="a mapping: {attempts: 3}")

    @field_validator("search")
    @classmethod
    def _search_alone(cls, search: SearchSpec | None, info: ValidationInfo) -> SearchSpec | None:
        # a section that failed its own validation is absent from info.data, but it was there
        others = [name for name in ("sweep", "ablate") if info.data.get(name, True)]
        if search is not None and others:
            raise refusal(
                f"together with {' and '.join(others)}",
                "a study either searches or lists its trials: make two studies of it",
            )
        return search


def definition_of(spec: StudySpec) -> Mapping[str, object]:
    """Return what decides which trials a study has, and in which order.

    Args:
        spec: The study; its ``base`` filled with the objective's defaults.

    Returns:
        JSON-like, for ``content_hash``. Mappings whose order counts are lists of pairs, because
        canonical JSON sorts keys: the order numbers the trials and steers the sampler.
    """
    search = None
    if spec.search is not None:
        search = spec.search.model_dump()
        search["space"] = [list(pair) for pair in search["space"].items()]
        search["objectives"] = [list(pair) for pair in search["objectives"].items()]
        if spec.search.pruner is None:
            del search["pruner"]  # as searches were defined before there were pruners
    return {
        "objective": spec.objective,
        "base": spec.base,
        "sweep": [[path, values] for path, values in spec.sweep.items()],
        "ablate": [[name, list(map(list, one.items()))] for name, one in spec.ablate.items()],
        "search": search,
    }


def path_problems(spec: StudySpec, base: Mapping[str, object]) -> list[Problem]:
    """Find paths that lead nowhere in base, and paths that lie inside one another.

    Args:
        spec: The study.
        base: Its base, filled with the objective's defaults.

    Returns:
        The problems, lines unknown.
    """
    sections: dict[str, Iterable[str]] = {"sweep": spec.sweep}
    sections |= {f"ablate.{name}": changes for name, changes in spec.ablate.items()}
    sections["search.space"] = spec.search.space if spec.search is not None else ()
    sections["measure.baseline"] = spec.measure.baseline or ()
    problems = []
    for section, paths in sections.items():
        for path in paths:
            complaint = _astray(path, base)
            outer = [other for other in paths if path.startswith(f"{other}.")]
            if complaint is None and outer:
                complaint = f"lies inside {outer[0]}, which is changed too", "change one of the two"
            if complaint is not None:
                problems.append(Problem(f"{section}.{path}", None, *complaint))
    return problems


def _astray(path: str, base: Mapping[str, object]) -> tuple[str, str] | None:
    node: object = base
    parent = ""
    for key in path.split("."):
        if node is None:
            return (
                f"{parent} is null in base, so nothing can be set inside it",
                f"give base.{parent} its values, or change {parent} as a whole",
            )
        if not isinstance(node, Mapping) or key not in node:
            return NOT_IN_BASE, suggestion(path, _paths_in(base), "In base")
        parent, node = f"{parent}.{key}".lstrip("."), node[key]
    return None


def _paths_in(params: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    for key, value in params.items():
        yield prefix + key
        if isinstance(value, Mapping):
            yield from _paths_in(value, f"{prefix}{key}.")
