"""What every command does that runs a study: progress while it runs, and what came of it."""

from typing import Annotated

import typer
from rich.console import Console

from orchestrator.home import Home
from orchestrator.logs import logging_to, worker_name
from orchestrator.redaction import redact
from orchestrator.services import check_reachable
from orchestrator.spec import StudySpec
from orchestrator.sweep import SweepReport
from studies.commands.failures import failure_lines
from studies.commands.options import EXIT_INTERRUPTED, usage_error

EXIT_FAILED_TRIALS = 3

ExecutorOption = Annotated[
    str, typer.Option(help="ray, or inline: in this process, for debugging.")
]
ActorsOption = Annotated[
    int | None,
    typer.Option(min=1, help="Ray actors. Default: one a GPU, or else one a CPU core."),
]


def check_executor(executor: str) -> None:
    """Refuse an executor that there is not.

    Raises:
        InputError: Then.
    """
    if executor not in ("ray", "inline"):
        raise usage_error("--executor", executor, "ray or inline")


def say(text: str) -> None:
    """Print a line for people on standard error."""
    Console(stderr=True, highlight=False).print(redact(text), soft_wrap=True, markup=False)


def launch(
    study: StudySpec,
    home: Home,
    *,
    executor: str,
    actors: int | None,
    again: str,
) -> SweepReport:
    """Run a study, and say how it went.

    Args:
        study: The study.
        home: Where everything is kept.
        executor: ``ray`` or ``inline``.
        actors: Number of Ray actors, or None.
        again: The command that continues it, and tries failed trials again.

    Returns:
        How it ended; done, or with failed trials.

    Raises:
        InputError: If its ledger or Optuna's database cannot be used.
        typer.Exit: If it was interrupted.
    """
    check_reachable(home.services)
    from studies.objectives.registry import OBJECTIVES
    from studies.progress import ConsoleWatcher
    from studies.running import run_study

    objective = OBJECTIVES[study.objective]
    log = home.logs / f"{study.study}.log"
    with (
        logging_to(log, study=study.study, worker=worker_name()),
        ConsoleWatcher(objective.unit) as watcher,
    ):
        report, trouble = run_study(
            study,
            objective,
            home,
            watcher,
            executor="inline" if executor == "inline" else "ray",
            actors=actors,
        )
    for failure in report.failures:
        say(failure_lines(study.study, failure, log=log, unit=objective.unit, again=again))
    if trouble:
        say(f"MLflow is not up to date ({trouble}); run the same command again to mend it")
    last = report.last_run
    if report.state == "interrupted":
        say(f"Interrupted; everything done is kept. Continue with: {again}")
        raise typer.Exit(EXIT_INTERRUPTED)
    if last.blocks_executed == 0 and report.state == "done":
        say(f"Nothing to run: all {last.blocks_reused} blocks of {study.study} are complete.")
    else:
        say(
            f"{study.study} {report.state}: {last.blocks_executed} blocks run, "
            f"{last.blocks_reused} reused, {last.actors} actors, {last.model_loads} model loads"
            + (f", {last.units_per_s:.1f} {objective.unit}/s" if last.units_per_s else "")
        )
    return report


def exit_if_failed(report: SweepReport) -> None:
    """End the command with its own exit code if trials failed.

    Raises:
        typer.Exit: Then.
    """
    if report.state == "failed":
        raise typer.Exit(EXIT_FAILED_TRIALS)
