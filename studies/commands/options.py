"""What commands have in common: options, exit codes, errors."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.errors import InputError, Problem, suggestion
from orchestrator.home import Home
from orchestrator.ledger import Ledger
from orchestrator.results import StudyResults
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


def home_of(home: Path | None) -> Home:
    """Return the home that a command works in."""
    return Home(home or Path(os.environ.get("MPN_HOME") or "mpn-home"))


def usage_error(option: str, found: str, wanted: str) -> InputError:
    """Return the error of an option with an impossible value."""
    return InputError(
        "the command", [Problem(option, None, repr(found), wanted)], "Nothing was done."
    )


def load_spec(spec: str, overrides: list[str]) -> StudySpec:
    """Read a study file, or one of those that come with the package."""
    from orchestrator.loading import load_study
    from studies.objectives.registry import OBJECTIVES
    from studies.running import bundled_specs

    path = Path(spec)
    bundled = bundled_specs() / f"{spec}.yaml"
    if "/" not in spec and not os.path.exists(spec) and os.path.exists(bundled):  # noqa: PTH110
        path = bundled
    return load_study(path, OBJECTIVES, overrides)


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
    ledger = Ledger(str(home.ledger))
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
    results = StudyResults.load(Ledger(str(home.ledger)), study)
    assert results is not None
    return results
