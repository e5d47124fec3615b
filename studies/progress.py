"""Progress on a terminal, or line by line where there is none."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from orchestrator.plan import TrialPlan
from orchestrator.trials import Failure

_LINE_EVERY_S = 10.0


class _Rate(ProgressColumn):
    """Units a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        rate = f" {self._unit}/s".replace(" /", "/")
        return Text("" if speed is None else f"{speed:.1f}{rate}", style="cyan")


class ConsoleProgress:
    """A bar on standard error, or lines; a context, so that the bar is always taken down."""

    def __init__(self, unit: str) -> None:
        """Show progress in ``unit``."""
        self._console = Console(stderr=True, highlight=False)
        self._live = sys.stderr.isatty()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(unit),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._live,
        )
        self._task = self._bar.add_task("starting", total=None)
        self._line_s = time.monotonic()

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar down."""
        self._bar.stop()

    def _show(self, what: str, done: int, total: int, line: str) -> None:
        """Update the bar; print a line now and then where there is no terminal."""
        self._bar.update(self._task, description=what, completed=done, total=total)
        if not self._live and time.monotonic() - self._line_s >= _LINE_EVERY_S:
            self._line_s = time.monotonic()
            self._console.print(line)


class StageProgress(ConsoleProgress):
    """Progress of work that has stages, each with its own count."""

    def __init__(self) -> None:
        """Show nothing yet."""
        super().__init__("")
        self._stage = ""

    def stage(self, stage: str, done: int, total: int, remark: str = "") -> None:
        """Show how far a stage is.

        Args:
            stage: Its name; another one than before begins a new bar.
            done: How much of it is done.
            total: How much there is to do.
            remark: What else there is to say, in a few words.
        """
        if stage != self._stage:
            self._bar.reset(self._task)
            self._stage = stage
        what = f"{stage}, {remark}" if remark else stage
        self._show(what, done, total, f"{stage}: {done} of {total}{remark and f', {remark}'}")


class ConsoleWatcher(ConsoleProgress):
    """See :class:`orchestrator.sweep.Watcher`."""

    def __init__(self, unit: str) -> None:
        """Show progress in ``unit``."""
        super().__init__(unit)
        self._unit = unit

    def preparing(self, stage: str, done: int, total: int) -> None:
        """Show how far the model is, or an editor that is trained."""
        if stage:
            what = f"preparing: {stage}"
            self._show(what, done, total, f"{what}, {done} of {total} steps")

    def progressed(self, n_units: int, total: int) -> None:
        """Show how many units are done."""
        self._show(self._unit, n_units, total, f"{n_units} of {total} {self._unit}")

    def trial_pruned(self, plan: TrialPlan, step: int) -> None:
        """Say in a line that a trial was stopped early."""
        self._bar.console.print(f"trial {plan.number} pruned after step {step}: {plan.label}")

    def trial_ended(self, plan: TrialPlan, failure: Failure | None) -> None:
        """Say in a line that a trial has ended."""
        if failure is None:
            self._bar.console.print(f"trial {plan.number} complete: {plan.label}")
        else:
            self._bar.console.print(
                f"[red]trial {plan.number} failed[/red]: {plan.label}: {failure.reason}"
            )
