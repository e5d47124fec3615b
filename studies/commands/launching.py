"""What every command does that runs a study: progress while it runs, and what came of it."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from orchestrator.home import Home
from orchestrator.logs import logging_to, worker_name
from orchestrator.objective import Objective
from orchestrator.redaction import redact
from orchestrator.services import check_reachable
from orchestrator.spec import StudySpec
from orchestrator.sweep import SweepReport
from orchestrator.trials import Failure
from studies.commands.failures import failure_lines
from studies.commands.options import usage_error
from studies.pools import PoolWish

if TYPE_CHECKING:
    from studies.progress import ConsoleWatcher

EXIT_FAILED_TRIALS = 3

ExecutorOption = Annotated[
    str, typer.Option(help="ray, or inline: in this process, for debugging.")
]
ActorsOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Ray actors. Default: as many as fit on the GPUs, or else on the CPU cores."
    ),
]


AddressOption = Annotated[
    str | None,
    typer.Option(
        help="A running Ray cluster: auto, or host:port of its head, on one of its nodes. "
        "Default: a private Ray on this machine.",
        show_default=False,
    ),
]
JoinOption = Annotated[
    bool,
    typer.Option("--join", help="Help the driver that runs the study, with actors of one's own."),
]
WaitOption = Annotated[
    float,
    typer.Option(min=0, help="With --address: seconds for which nodes may still be starting."),
]


def pool_wish(
    executor: str, actors: int | None, address: str | None = None, wait_s: float = 0.0
) -> PoolWish:
    """Say where blocks run, as the options ask.

    Raises:
        InputError: If there is no such executor, or one that does not go with a cluster.
    """
    if executor not in ("ray", "inline"):
        raise usage_error("--executor", executor, "ray or inline")
    if address is not None and executor != "ray":
        raise usage_error("--executor", executor, "ray, since --address names a Ray cluster")
    return PoolWish("inline" if executor == "inline" else "ray", actors, address, wait_s)


def say(text: str) -> None:
    """Print a line for people on standard error."""
    Console(stderr=True, highlight=False).print(redact(text), soft_wrap=True, markup=False)


def launch(
    study: StudySpec,
    home: Home,
    *,
    wish: PoolWish,
    again: str,
) -> SweepReport:
    """Run a study, and say how it went.

    Args:
        study: The study.
        home: Where everything is kept.
        wish: Where blocks run.
        again: The command that continues it, and tries failed trials again.

    Returns:
        How it ended; done, or with failed trials.

    Raises:
        InputError: If its ledger or Optuna's database cannot be used.
        typer.Exit: If it was interrupted.
    """
    from studies.running import run_study

    log = home.logs / f"{study.study}.log"
    with _at_work(study, home, log) as (objective, watcher):
        report, trouble, exit_code = run_study(study, objective, home, watcher, wish)
    _say_failures(study, report.failures, objective, log, again)
    if trouble:
        say(f"MLflow is not up to date ({trouble}); run the same command again to mend it")
    last = report.last_run
    if report.state == "interrupted":
        say(f"Interrupted; everything done is kept. Continue with: {again}")
        raise typer.Exit(exit_code)
    if last.blocks_executed == 0 and report.state == "done":
        done = f"all {last.blocks_reused} blocks of {study.study} are complete"
        say(f"Nothing to run: {done}" + (", but for pruned trials." if last.units_spared else "."))
    else:
        say(
            f"{study.study} {report.state}: {last.blocks_executed} blocks run, "
            f"{last.blocks_reused} reused, {last.actors} actors, {last.model_loads} model loads"
            + (f", {last.units_per_s:.1f} {objective.unit}/s" if last.units_per_s else "")
            + (f", {last.units_spared} {objective.unit} spared" if last.units_spared else "")
        )
    return report


def lend_a_hand(study: StudySpec, home: Home, *, wish: PoolWish, again: str) -> None:
    """Run blocks of a study that another driver runs, and say how many; as :func:`launch`."""
    from studies.running import help_study

    log = home.logs / f"{study.study}.joined-{os.getpid()}.log"
    with _at_work(study, home, log) as (objective, watcher):
        report, exit_code = help_study(study, objective, home, watcher, wish)
    _say_failures(study, report.failures, objective, log, again)
    done = f"{report.blocks_executed} blocks of {study.study} run beside its driver"
    if report.state == "interrupted":
        say(f"Interrupted; {done}.")
        raise typer.Exit(exit_code)
    if report.state == "orphaned":
        say(f"{done}; that driver is gone. Continue the study with: {again}")
    else:
        say(f"{done}; nothing is left to help with.")


def exit_if_failed(report: SweepReport) -> None:
    """End the command with its own exit code if trials failed.

    Raises:
        typer.Exit: Then.
    """
    if report.state == "failed":
        raise typer.Exit(EXIT_FAILED_TRIALS)


@contextmanager
def _at_work(
    study: StudySpec, home: Home, log: Path
) -> Iterator[tuple[Objective, "ConsoleWatcher"]]:
    """Log and show progress, within the context, once the study's stores answer."""
    home.make()
    check_reachable(home.services)
    from studies.objectives.registry import OBJECTIVES
    from studies.progress import ConsoleWatcher

    objective = OBJECTIVES[study.objective]
    with (
        logging_to(log, study=study.study, worker=worker_name()),
        ConsoleWatcher(objective.unit) as watcher,
    ):
        yield objective, watcher


def _say_failures(
    study: StudySpec, failures: Iterable[Failure], objective: Objective, log: Path, again: str
) -> None:
    for failure in failures:
        say(failure_lines(study.study, failure, log=log, unit=objective.unit, again=again))
