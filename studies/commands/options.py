"""What commands have in common: options, exit codes, errors."""

import os
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.errors import InputError, Problem
from orchestrator.home import Home
from orchestrator.spec import StudySpec

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
    if not path.exists() and "/" not in spec and bundled.exists():
        path = bundled
    return load_study(path, OBJECTIVES, overrides)
