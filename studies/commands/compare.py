"""`mpn compare`: two trials on the same edits."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from orchestrator.errors import InputError, Problem, suggestion
from orchestrator.results import StudyResults, TrialResult
from studies.analysis.comparison import (
    Side,
    compare_trials,
    render_comparison,
    terminal_comparison,
)
from studies.commands.options import (
    FormatOption,
    HomeOption,
    at_home,
    check_format,
    home_of,
    results_of,
    usage_error,
)

commands = typer.Typer()


@commands.command()
@at_home
def compare(
    trials: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY A B | STUDY:A STUDY:B",
            help="Two trials, by number or label, of one study or of two.",
        ),
    ],
    metric: Annotated[
        str, typer.Option(help="Default: the first study's primary metric.", show_default=False)
    ] = "",
    form: FormatOption = "",
    home: HomeOption = None,
) -> None:
    """Compare two trials edit by edit: what B gains over A, in each language.

    Paired bootstrap with interval and p-value, corrected over languages (Holm). Edits that only
    one of the two has are left out, and counted.

    mpn compare quickstart 0 4

    mpn compare quickstart:0 dropout:2 --metric locality
    """
    check_format(form)
    places = _places(trials)
    found = {study: results_of(study, home_of(home)) for study in dict(places)}
    first, second = (Side(found[study], _trial(found[study], trial)) for study, trial in places)
    metric = metric or first.results.measure["primary"]
    from mpn.seeding import numpy_generator  # takes seconds

    generator = numpy_generator("compare", first.name, second.name, metric)
    comparison = compare_trials(first, second, metric, first.results.level, generator)
    if form:
        typer.echo(render_comparison(comparison, form), nl=False)
        return
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(terminal_comparison(comparison))
    for note in comparison.notes:
        console.print(note, style="dim", markup=False)


def _places(words: list[str]) -> list[tuple[str, str]]:
    """Read which trial of which study is meant, twice."""
    if len(words) == 3:
        return [(words[0], word) for word in words[1:]]
    pairs = [(study, trial) for study, _, trial in (word.partition(":") for word in words)]
    if len(pairs) != 2 or not all(study and trial for study, trial in pairs):
        wanted = "mpn compare STUDY A B, or mpn compare STUDY:A STUDY:B; trials by number or label"
        raise usage_error("TRIALS", " ".join(words), wanted)
    return pairs


def _trial(results: StudyResults, wanted: str) -> TrialResult:
    by_name = {trial.label: trial for trial in results.trials}
    by_name |= {str(trial.number): trial for trial in results.trials}
    if wanted not in by_name:
        known = suggestion(wanted, list(by_name), "Numbers and labels")
        raise InputError(
            f"study {results.study}",
            [Problem("trial", None, f"{wanted!r} is not here", known)],
            "Nothing was compared.",
        )
    return by_name[wanted]
