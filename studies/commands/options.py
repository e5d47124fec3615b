"""What commands have in common: options, exit codes, errors."""

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

import typer

from orchestrator.errors import InputError, Problem, suggestion
from orchestrator.home import Home
from orchestrator.ledger import Ledger
from orchestrator.redaction import redact
from orchestrator.results import StudyResults
from orchestrator.services import (
    LEDGER_VARIABLE,
    MLFLOW_VARIABLE,
    OPTUNA_VARIABLE,
    Services,
)
from orchestrator.spec import StudySpec
from orchestrator.study_memory import checked
from studies.analysis.tables import FORMATS

EXIT_INTERRUPTED = 130

HomeOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of results. Default: $MPN_HOME, else ./mpn-home.", show_default=False
    ),
]

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a value of the study file."),
]

FormatOption = Annotated[
    str, typer.Option("--format", help=f"{', '.join(FORMATS)}; default: for this terminal.")
]


def _service(help_: str, variable: str) -> object:
    text = f"{help_} Default: ${variable}, else in the home."
    return Annotated[str | None, typer.Option(metavar="URI", help=text, show_default=False)]


_SERVICES = {
    "ledger": _service("Results and checkpoints: a folder, or s3://...", LEDGER_VARIABLE),
    "optuna": _service("Database of the trials: postgresql+psycopg://...", OPTUNA_VARIABLE),
    "mlflow": _service("Tracking server: http://...", MLFLOW_VARIABLE),
}
_asked: ContextVar[Mapping[str, str]] = ContextVar("asked", default=MappingProxyType({}))
Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def at_home(command: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Let a command that works in a home be told where services keep a part of that.

    The options that say so are the same everywhere, so they are added here; :func:`home_of`
    reads them. A command that calls another passes them on.
    """

    @functools.wraps(command)
    def told(*arguments: Arguments.args, **named: Arguments.kwargs) -> Answer:
        given = {name: str(named.pop(name)) for name in _SERVICES if named.get(name)}
        for name in _SERVICES:
            named.pop(name, None)
        before = _asked.set({**_asked.get(), **given})
        try:
            return command(*arguments, **named)
        finally:
            _asked.reset(before)

    signature = inspect.signature(command)
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _SERVICES.items()
    ]
    parameters = [*signature.parameters.values(), *options]
    told.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    told.__annotations__ = {**command.__annotations__, **_SERVICES}
    return told


def home_of(home: Path | None, *, is_written: bool = True) -> Home:
    """Return the home that a command works in: by its options, or else by the environment.

    Args:
        home: What the option says.
        is_written: Whether the command makes it where it is not there.

    Raises:
        InputError: If a service is named by what is no URI for it, or the home cannot be one.
    """
    folder = home or Path(os.environ.get("MPN_HOME") or "mpn-home")
    check_target("--home", folder, "a folder", is_written=is_written)
    return Home(folder, Services.of(_asked.get(), os.environ))


def asked_services() -> Mapping[str, str]:
    """Return the URIs of services that the command's options name, by the options' names."""
    return _asked.get()


def place_words(home: Path | None) -> list[str]:
    """Return the options that lead another command to the same place, without credentials."""
    words = ["--home", str(home)] if home else []
    for name, uri in _asked.get().items():
        words += [f"--{name}", redact(uri)]
    return words


def usage_error(option: str, found: str, wanted: str) -> InputError:
    """Return the error of an option with an impossible value."""
    return InputError(
        "the command", [Problem(option, None, repr(found), wanted)], "Nothing was done."
    )


Kind = Literal["a file", "a folder"]


def check_target(option: str, path: Path, kind: Kind, *, is_written: bool = True) -> None:
    """Refuse what :func:`target_problem` finds.

    Raises:
        InputError: If that is anything.
    """
    problem = target_problem(option, path, kind, is_written=is_written)
    if problem is not None:
        raise InputError("the command", [problem], "Nothing was done.")


def target_problem(
    option: str, path: Path, kind: Kind, *, is_written: bool = True
) -> Problem | None:
    """Say why a place cannot become, or is not, what a command needs; None if it can.

    Args:
        option: Where the user named it.
        path: The place.
        kind: What it is to be.
        is_written: Whether the command makes it where it is not there.
    """
    above = path if kind == "a folder" else path.parent
    while not os.path.lexists(above) and above != above.parent:
        above = above.parent
    if kind == "a file" and path.is_dir():
        wanted = "a file; that is a folder"
    elif not above.is_dir():
        wanted = f"{kind}; {above} is a file"
    elif is_written and above != path and not os.access(above, os.W_OK):
        wanted = f"{kind} where it can be written; {above} cannot"
    else:
        return None
    return Problem(option, None, repr(str(path)), wanted)


def load_spec(spec: str, overrides: list[str]) -> StudySpec:
    """Read a study file, or one of those that come with the package."""
    from orchestrator.loading import load_study
    from studies.objectives.registry import OBJECTIVES

    return load_study(spec_path(spec), OBJECTIVES, overrides)


def spec_path(spec: str) -> Path:
    """Return the file that is meant: it may be the name of one that comes with the package.

    Raises:
        InputError: If it can only be such a name, and is none.
    """
    from studies.running import bundled_specs

    path = Path(spec)
    if "/" in spec or path.suffix or os.path.exists(spec):  # noqa: PTH110
        return path
    known = sorted(one.stem for one in bundled_specs().glob("*.yaml"))
    if spec not in known:
        wanted = suggestion(spec, known, "Studies that come along")
        found = "there is no such file, and no such study comes along"
        raise InputError(spec, [Problem("", None, found, wanted)], "Nothing was launched.")
    return bundled_specs() / f"{spec}.yaml"


def check_format(form: str) -> None:
    """Refuse a format that there is not.

    Raises:
        InputError: Then.
    """
    if form and form not in FORMATS:
        raise usage_error("--format", form, ", ".join(FORMATS))


def memory_of(study: str, home: Home) -> dict[str, Any]:
    """Return what the driver remembers of a study.

    Raises:
        InputError: If the home has no such study, or a file that no driver wrote.
    """
    ledger = Ledger(home.ledger)
    known = ledger.study_names()
    memory = ledger.study(study) if study in known else None
    if memory is None:
        wanted = suggestion(study, known, "Run here") if known else "no study was run here yet"
        raise InputError(
            f"home {home.path}", [Problem("study", None, f"{study!r} is not here", wanted)], ""
        )
    return checked(memory, f"{ledger.uri}/studies/{study}.json")


def results_of(study: str, home: Home) -> StudyResults:
    """Return what a study has found.

    Raises:
        InputError: If the home has no such study.
    """
    memory_of(study, home)
    results = StudyResults.load(Ledger(home.ledger), study)
    assert results is not None
    return results
