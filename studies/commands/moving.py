"""The commands that bring a study elsewhere: into an archive, from one, and into MLflow again."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.errors import InputError, Problem
from orchestrator.exclusive import nobody_else_drives
from orchestrator.home import Home
from orchestrator.ledger import Ledger
from orchestrator.moving import Moved, export_study, import_study, opened_archive
from orchestrator.redaction import one_line
from studies.commands.launching import say
from studies.commands.options import (
    HomeOption,
    at_home,
    check_target,
    home_of,
    memory_of,
    place_words,
    usage_error,
)

commands = typer.Typer()

FileArgument = Annotated[Path, typer.Argument(help="The archive.", show_default=False)]


@commands.command()
@at_home
def sync(
    study: Annotated[
        str | None, typer.Argument(help="Name of a study. Default: all.", show_default=False)
    ] = None,
    home: HomeOption = None,
) -> None:
    """Rebuild what MLflow has lost from the ledger; what it has stays as it is."""
    place = home_of(home)
    names = [study] if study else Ledger(place.ledger).study_names()
    if not names:
        raise usage_error("--home", str(place.path), "a home in which a study was run")
    for name in names:
        memory_of(name, place)
    from studies.running import mirror_again

    for name in names:
        with nobody_else_drives(name, place):
            try:
                n_trials = mirror_again(name, place)
            except InputError:
                raise
            except Exception as error:  # every store has errors of its own
                raise _unreachable(place, error) from error
        say(f"{name}: {n_trials} trials are in MLflow")


@commands.command("export")
@at_home
def export_(
    study: Annotated[str, typer.Argument(help="Name of a study that was run here.")],
    file: FileArgument,
    home: HomeOption = None,
) -> None:
    """Write a study into one file: what it has found, and the work that is under way."""
    place = home_of(home)
    memory_of(study, place)
    check_target("FILE", file, "a file")
    with nobody_else_drives(study, place):
        moved = export_study(Ledger(place.ledger), study, file)
    say(f"{file}: {_counted(moved)}. Go on elsewhere with: mpn import {file}")


@commands.command("import")
@at_home
def import_(file: FileArgument, home: HomeOption = None) -> None:
    """Take a study from a file that mpn export wrote, to go on with it here."""
    place = home_of(home)
    with opened_archive(file) as incoming, nobody_else_drives(incoming.study, place):
        moved = import_study(incoming, Ledger(place.ledger))
    kept = f", of which {moved.kept} were here already" if moved.kept else ""
    words = " ".join(["mpn resume", moved.study, *place_words(home)])
    say(f"{_counted(moved)}{kept}. Go on with: {words}")


def _counted(moved: Moved) -> str:
    return f"{moved.study}, {moved.blocks} complete blocks and {moved.under_way} under way"


def _unreachable(place: Home, error: Exception) -> InputError:
    problem = Problem(
        "--mlflow", None, f"{place.mlflow_uri!r}: {one_line(error, longest=200)}", "start it"
    )
    return InputError("the services", [problem], "What is in the ledger is kept. Try again.")
