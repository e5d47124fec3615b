"""What can go wrong, said so that a reader knows where, what, what would be right, what next."""

import difflib
import functools
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

_LONGEST_SHOWN = 60
_LONGEST_LINE = 400  # of a message; beyond, its middle is left out
_LONGEST_COMMAND = 4_000
_MOST_PROBLEMS = 100
_KEY_MARK = "[key]"  # pydantic's
_VARIANT = re.compile(r"<\w+>")  # marks of ours for one of several kinds of value: Tag("<range>")
_KINDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "literal_error": "a choice here",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input.

    Attributes:
        place: Dotted path of the value, or "" for the input as a whole.
        line: Line of the file, counted from 1, where there is one.
        found: What is there.
        wanted: What would be right.
        source: Where it was read if not from a line of the file: ``--set``, say.
    """

    place: str
    line: int | None
    found: str
    wanted: str
    source: str = ""


class OrchestratorError(Exception):
    """Anything this package raises on purpose; keeps its fields in ``args``, so it pickles."""

    exit_code = 1


class InputError(OrchestratorError):
    """The input is wrong: the user's to mend, never retried.

    Attributes:
        file: The file, as the user named it.
        problems: Everything that is wrong, in the order shown.
        footer: The state of the world and the next step.
    """

    exit_code = 2

    def __init__(self, file: str, problems: Sequence[Problem], footer: str | None = None) -> None:
        if footer is None:
            footer = f"Nothing was launched. Re-check with: mpn plan {file}"
        self.file = file
        self.problems = tuple(problems)
        self.footer = footer
        super().__init__(self.file, self.problems, self.footer)

    def __str__(self) -> str:
        count = len(self.problems)
        gutters = [_gutter(problem) for problem in self.problems]
        width = max(map(len, gutters), default=0)
        indent = " " * (2 + width + 2 if width else 2)
        parts = [f"{count} problem{'' if count == 1 else 's'} in {_printable(self.file)}", ""]
        for gutter, problem in zip(gutters[:_MOST_PROBLEMS], self.problems, strict=False):
            place = _printable(problem.place)
            head = f"{place}: {_printable(problem.found)}" if place else _printable(problem.found)
            parts.append(f"  {gutter:<{width}}  {head}" if width else f"  {head}")
            parts += [indent + _printable(row) for row in problem.wanted.splitlines()]
        if count > _MOST_PROBLEMS:
            parts.append(f"  and {count - _MOST_PROBLEMS:,} more")
        if self.footer:
            rows = (_printable(row, _LONGEST_COMMAND) for row in self.footer.splitlines())
            parts += ["", *rows]
        return "\n".join(parts)


class ReplicaDirtyError(OrchestratorError):
    """A replica's model is no longer the one it loaded; the replica must be replaced."""


class WorkerLostError(OrchestratorError):
    """A worker died where nothing can take over its work."""


class OutageError(OrchestratorError):
    """A store stayed away for longer than a study waits for one.

    Attributes:
        store: Which.
        reason: What it said last.
        waited_s: For how long it was tried.
    """

    def __init__(self, store: str, reason: str, waited_s: float) -> None:
        self.store = store
        self.reason = reason
        self.waited_s = waited_s
        super().__init__(store, reason, waited_s)

    def __str__(self) -> str:
        return (
            f"{self.store} could not be used for {self.waited_s:.0f} s: {self.reason}\n"
            "The study stopped; every block that is complete and every checkpoint is kept. "
            "Once it is back, continue with the same command."
        )


class StudyBusyError(OrchestratorError):
    """Another driver holds the study."""

    exit_code = 2

    def __init__(self, study: str, home: str) -> None:
        self.study = study
        self.home = home
        super().__init__(study, home)

    def __str__(self) -> str:
        return (
            f"study {self.study} in {self.home} is being run by another process\n"
            "Nothing was launched. Wait for it, stop it, help it with --join, or use another "
            f"--home. Watch it with: mpn status {self.study} --home {self.home}"
        )


def shown(value: object) -> str:
    """Show a value in a message as the user would write it in the file.

    Args:
        value: JSON-like, or anything.

    Returns:
        Text in quotes, ``true``, ``null``, or JSON, cut at 60 characters.
    """
    if isinstance(value, str):
        text = repr(value)
    else:
        try:
            text = json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError):
            text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def suggestion(word: str, known: Iterable[str], label: str = "Known here") -> str:
    """Say which name was probably meant, and which names there are.

    Args:
        word: The name that is not known.
        known: The names that are.
        label: What to call the list of them.

    Returns:
        ``did you mean 'top_k'? Known here: gap, top_k``, without the question if nothing is close.
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    listing = f"{label}: {', '.join(names) or 'nothing'}"
    return f"did you mean '{close[0]}'? {listing}" if close else listing


def below(place: str, key: str | int) -> str:
    """Write the place of a key or an index within a place.

    Args:
        place: Dotted, or "" for the top.
        key: Key of a mapping or index into a list.

    Returns:
        ``base.streams`` or ``sizes[2]``, say.
    """
    if isinstance(key, int):
        return f"{place}[{key}]"
    return f"{place}.{key}" if place else key


def refusal(found: str, wanted: str) -> PydanticCustomError:
    """Make what a validator of a pydantic model raises, for ``problems_in`` to read.

    Args:
        found: What is there.
        wanted: What would be right.

    Returns:
        The exception.
    """
    return PydanticCustomError("refused", "{found}; {wanted}", {"found": found, "wanted": wanted})


def problems_in(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Put into words what pydantic found wrong with an input.

    Args:
        error: What validation raised.
        model: The model that was validated; the descriptions of its fields say what is right.

    Returns:
        One problem for each error, of the first hundred; places dotted from the top of the
        input, lines unknown.
    """
    errors = itertools.islice(error.errors(include_url=False), _MOST_PROBLEMS)
    return [_problem(details, model) for details in errors]


def location_of(details: ErrorDetails) -> tuple[str | int, ...]:
    """Return where in the input an error of pydantic lies.

    Args:
        details: One of ``ValidationError.errors()``.

    Returns:
        Keys and indices from the top, without marks that are in no input.
    """
    return tuple(part for part in details["loc"] if part != _KEY_MARK and not _is_variant(part))


def _is_variant(part: str | int) -> bool:
    return isinstance(part, str) and _VARIANT.fullmatch(part) is not None


def _problem(details: ErrorDetails, model: type[BaseModel]) -> Problem:
    location = location_of(details)
    model, wanted = _field(details["loc"], model)
    kind, value = details["type"], details["input"]
    if kind == "refused":
        found, wanted = details["ctx"]["found"], details["ctx"]["wanted"]
    elif kind == "extra_forbidden":
        found, wanted = "unknown key", suggestion(str(location[-1]), model.model_fields)
    elif kind == "union_tag_invalid":
        variant, variants = (details["ctx"][name] for name in ("tag", "expected_tags"))
        found = f"{shown(variant.strip('<>'))} is not a choice here"
        wanted = suggestion(variant.strip("<>"), _names_of(variants))
    elif kind == "missing":
        found, wanted = "missing", f"add it: {wanted}"
    elif kind == "too_short":
        found = "empty"
    elif kind.startswith(("greater_than", "less_than")):
        found = f"{shown(value)} is too {'small' if kind.startswith('greater') else 'large'}"
    elif kind in _KINDS:
        found = f"{shown(value)} is not {_KINDS[kind]}"
        if kind == "string_type" and isinstance(value, int | float):
            wanted += "; in quotes, if it is meant as text"
    else:
        found = f"{shown(value)}: {details['msg']}"
        return Problem(functools.reduce(below, location, ""), None, found, wanted)
    wanted = wanted or details["msg"].removeprefix("Input should be ")
    return Problem(functools.reduce(below, location, ""), None, found, wanted)


def _field(location: tuple[str | int, ...], model: type[BaseModel]) -> tuple[type[BaseModel], str]:
    """Find the innermost model on the way to a place, and what its field should hold."""
    wanted = ""
    annotation: object = None
    for part in location:
        if _is_variant(part):
            model = _variant(annotation, part) or model
            continue
        field = model.model_fields.get(str(part))
        if field is None:
            continue  # a free key of a mapping, or an index
        annotation = field.annotation
        wanted = field.description or wanted
        inner = _model_within(field.annotation)
        if inner is None:
            break
        model = inner
    return model, wanted


def _model_within(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_within, get_args(annotation))), None)


def _variant(annotation: object, mark: str | int) -> type[BaseModel] | None:
    """Return the kind of value that bears a mark, out of several."""
    for one in get_args(annotation):
        if any(isinstance(note, Tag) and note.tag == mark for note in get_args(one)[1:]):
            return _model_within(one)
    return None


def _names_of(marks: str) -> list[str]:
    return [mark.strip("'<>") for mark in marks.split(", ")]


def _gutter(problem: Problem) -> str:
    return problem.source if problem.line is None else f"line {problem.line}"


def _printable(text: str, longest: int = _LONGEST_LINE) -> str:
    """Show text of a stranger's on a terminal: nothing that steers it, and not for ever."""
    if len(text) > longest:
        text = f"{text[: longest // 2]} … {text[-longest // 2 :]}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
