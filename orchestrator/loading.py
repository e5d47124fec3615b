"""From a study file to a spec: everything wrong with it is said at once, with its line."""

import difflib
import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from orchestrator.errors import (
    InputError,
    Problem,
    below,
    location_of,
    problems_in,
    shown,
    suggestion,
)
from orchestrator.plan import examine
from orchestrator.redaction import redact
from orchestrator.spec import NOT_IN_BASE, StudySpec
from orchestrator.strict_yaml import (
    DEEPEST_NESTING,
    LARGEST_FILE,
    LONGEST_KEY,
    Document,
    above,
    read,
)

if TYPE_CHECKING:
    from orchestrator.objective import Objective

# what stands in for required sections that are wrong, so that the others can still be judged
_STAND_INS: dict[str, Any] = {
    "study": "unnamed",
    "question": "?",
    "objective": "",
    "base": {},
    "measure": {"primary": ""},
}
_IRRELEVANT_TO_TRIALS = {"study", "question", "expect", "measure", "resources", "retry"}


def load_study(
    path: Path, objectives: Mapping[str, "Objective"], overrides: Sequence[str] = ()
) -> StudySpec:
    """Read a study file, strictly.

    Args:
        path: The file: YAML as ``strict_yaml`` reads it.
        objectives: The objectives that a study can name.
        overrides: ``path=value`` each, laid over the file in this order; the path dotted from
            the top (``base.model.layer``), the value a scalar or in flow style (``[1, 2]``).

    Returns:
        The spec, its ``base`` filled with the objective's defaults.

    Raises:
        InputError: If anything is wrong; it holds every problem, in the order of the lines,
            those of ``overrides`` last.
    """
    study = _Study(path, overrides)
    study.read()
    spec = study.judge(objectives)
    study.fail_if_wrong()
    return spec


class _Study:
    """A study file on its way to a spec."""

    def __init__(self, path: Path, overrides: Sequence[str]) -> None:
        self._path = path
        self._overrides = overrides
        self._problems: list[Problem] = []
        self._data: dict[str, Any] = {}
        self._lines: dict[str, int | None] = {}  # None: from --set
        self._spoilt: set[str] = set()

    def read(self) -> None:
        document = self._document()
        self._problems += document.problems
        self._lines |= document.lines
        self._spoilt |= document.spoilt
        if document.complete and not isinstance(document.value, dict):
            what = "a list" if isinstance(document.value, list) else shown(document.value)
            wanted = "a mapping of keys to values: study, question, objective, base, measure ..."
            self._problems.append(
                Problem("", document.lines[""], f"{what} at the top of the file", wanted)
            )
        elif isinstance(document.value, dict):
            self._data = document.value
        if not document.complete or not isinstance(document.value, dict):
            self.fail_if_wrong()
        for override in self._overrides:
            self._lay_over(override)

    def judge(self, objectives: Mapping[str, "Objective"]) -> StudySpec:
        """Note everything that is wrong with what was read."""
        for place in _with_credentials(self._data, ""):
            wanted = "leave it out: what is in a study is kept and shown; use the environment"
            self._note(place, "holds a password, or another credential", wanted)
        spec, wrong = self._validated()
        objective = objectives.get(spec.objective)
        if objective is None:
            if "objective" not in wrong:
                found = f"{shown(spec.objective)} is not an objective"
                self._note("objective", found, suggestion(spec.objective, objectives, "Objectives"))
            return spec
        self._judge_metrics(spec, objective, wrong)
        if "base" in wrong:
            return spec
        filled, problems = objective.resolve(spec.base)
        base = _merged(filled, spec.base) if problems else filled
        unfilled = bool(problems) and base == spec.base
        spec = spec.model_copy(update={"base": base})
        for problem in problems:
            self._note(f"base.{problem.place}".rstrip("."), problem.found, problem.wanted)
        for problem in examine(spec, objective).problems:
            if problem.found == NOT_IN_BASE and unfilled:
                continue  # it may be a default
            if problem.place in ("budget.max_trials", "measure.baseline") and (
                wrong - _IRRELEVANT_TO_TRIALS
            ):
                continue  # sections that make trials were left out
            self._note(problem.place, problem.found, problem.wanted)
        return spec

    def fail_if_wrong(self) -> None:
        if not self._problems:
            return
        last = max(problem.line or 0 for problem in self._problems) + 1
        problems = sorted(
            dict.fromkeys(self._problems), key=lambda p: last if p.line is None else p.line
        )
        options = "".join(f" --set {shlex.quote(override)}" for override in self._overrides)
        again = f"Nothing was launched. Re-check with: mpn plan {self._path}{options}"
        raise InputError(str(self._path), problems, again)

    def _document(self) -> Document:
        try:
            kind = self._path.stat().st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # a pipe would never end
                found = "is no regular file"
                return Document(problems=[Problem("", None, found, "a YAML file")])
            with self._path.open("rb") as file:
                return read(file.read(LARGEST_FILE + 1))
        except FileNotFoundError:
            found = "there is no such file"
            siblings = [one.name for one in self._path.parent.glob("*.yaml")]
            close = difflib.get_close_matches(self._path.name, siblings, n=1)
            wanted = f"did you mean {self._path.parent / close[0]}?" if close else "check the path"
        except OSError as error:
            found, wanted = f"cannot be read: {error.strerror}", "a YAML file"
        return Document(problems=[Problem("", None, found, wanted)])

    def _note(self, place: str, found: str, wanted: str) -> None:
        known = place
        while known and known not in self._lines:
            known = above(known)
        line = self._lines[known]
        within = place
        while within:
            if within in self._spoilt:
                return
            within = above(within)
        self._problems.append(Problem(place, line, found, wanted, "--set" if line is None else ""))

    def _lay_over(self, override: str) -> None:
        path, equals, text = override.partition("=")
        path = path.strip()
        if len(path) > LONGEST_KEY or path.count(".") >= DEEPEST_NESTING:
            wanted = f"at most {LONGEST_KEY} characters and {DEEPEST_NESTING} keys"
            self._refuse_override("", f"the path {shown(path)} is too long", wanted)
            return
        if not equals or not all(path.split(".")):
            self._refuse_override(
                "", f"{shown(override)} is not path=value", "base.streams.count=3, say"
            )
            return
        if not text.strip():
            self._refuse_override(path, "no value", "null or '' if that is meant")
            return
        document = read(text.encode("utf-8", "replace"))
        if document.problems:
            for one in document.problems:
                place = path + one.place if one.place.startswith("[") else below(path, one.place)
                self._refuse_override(place.rstrip("."), one.found, one.wanted)
            return
        if isinstance(document.value, dict | list) and text.lstrip()[0] not in "{[":
            self._refuse_override(path, f"{shown(text)} is in block style", "write {...} or [...]")
            return
        node, place = self._data, ""
        *parents, last = _keys(self._data, path)
        for key in parents:
            place = below(place, key)
            if key not in node:
                node[key] = {}
                self._lines[place] = None
            if not isinstance(node[key], dict):
                found = f"nothing can be set inside {shown(node[key])}, which {place} is"
                self._refuse_override(path, found, f"set {place} as a whole")
                return
            node = node[key]
        node[last] = document.value
        place = below(place, last)
        replaced = (f"{place}.", f"{place}[")
        self._lines = {one: n for one, n in self._lines.items() if not one.startswith(replaced)}
        self._lines[place] = None
        self._spoilt = {one for one in self._spoilt - {place} if not one.startswith(replaced)}

    def _refuse_override(self, place: str, found: str, wanted: str) -> None:
        self._problems.append(Problem(place, None, found, wanted, "--set"))

    def _validated(self) -> tuple[StudySpec, set[str]]:
        """Make a spec of what is right, and tell which sections are not."""
        try:
            return StudySpec.model_validate(self._data), set()
        except ValidationError as error:
            for problem in problems_in(error, StudySpec):
                self._note(problem.place, problem.found, problem.wanted)
            locations = [location_of(details) for details in error.errors()]
        wrong = {str(location[0]) for location in locations}
        right = {key: value for key, value in self._data.items() if key not in wrong}
        for section in {"sweep", "ablate"} & wrong:
            entries = self._data[section]
            if isinstance(entries, dict):
                bad = {location[1] for location in locations if location[0] == section}
                right[section] = {key: v for key, v in entries.items() if key not in bad}
        return StudySpec.model_validate({**_STAND_INS, **right}), wrong

    def _judge_metrics(self, spec: StudySpec, objective: "Objective", wrong: set[str]) -> None:
        named: dict[str, str] = {}
        if "measure" not in wrong:
            named["measure.primary"] = spec.measure.primary
            named |= {f"measure.guard[{i}]": name for i, name in enumerate(spec.measure.guard)}
        if spec.search is not None:
            for name, direction in spec.search.objectives.items():
                place = f"search.objectives.{name}"
                named[place] = name
                better = objective.metrics.get(name, direction)
                if direction != better:
                    self._note(place, f"'{direction}' makes {name} worse", f"write {better}")
            if spec.search.pruner is not None and name in objective.metrics:
                self._judge_pruned(name, objective)
        for place, name in named.items():
            if name not in objective.metrics:
                wanted = suggestion(name, objective.metrics, "Metrics")
                self._note(place, f"{shown(name)} is not a metric of {objective.name}", wanted)

    def _judge_pruned(self, name: str, objective: "Objective") -> None:
        if name not in objective.curves:
            known = ", ".join(objective.curves)
            wanted = f"search for one of these: {known}" if known else f"{objective.name} has none"
            self._note("search.pruner", f"{shown(name)} has no running value to prune by", wanted)


def _keys(data: object, path: str) -> list[str]:
    """Split a path into keys, some of which are paths themselves: those of sweep, say."""
    keys: list[str] = []
    rest = path.split(".")
    while rest:
        there = data if isinstance(data, dict) else {}
        holds_paths = keys in (["sweep"], ["search", "space"], ["measure", "baseline"]) or (
            len(keys) == 2 and keys[0] == "ablate"
        )
        counts = range(len(rest), 0, -1)
        known = (count for count in counts if ".".join(rest[:count]) in there)
        count = next(known, len(rest) if holds_paths else 1)
        keys.append(".".join(rest[:count]))
        data, rest = there.get(keys[-1]), rest[count:]
    return keys


def _with_credentials(value: object, place: str) -> Iterator[str]:
    """Return the places of all texts that hold one."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _with_credentials(item, below(place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _with_credentials(item, below(place, index))
    elif isinstance(value, str) and redact(value) != value:
        yield place


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        inner: Any = merged.get(key)
        nested = isinstance(inner, dict) and isinstance(value, dict)
        merged[key] = _merged(inner, value) if nested else value
    return merged
