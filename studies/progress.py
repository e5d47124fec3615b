"""Progress of a sweep on a terminal, or line by line where there is none."""

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
from orchestrator.scheduler import Failure

_LINE_EVERY_S = 10.0


class _Rate(ProgressColumn):
    """Units a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} {self._unit}/s", style="cyan")


class ConsoleWatcher:
    """See :class:`orchestrator.sweep.Watcher`; a context, so that the bar is always taken down."""

    def __init__(self, unit: str) -> None:
        """Show progress in ``unit`` on standard error."""
        self._console = Console(stderr=True, highlight=False)
        self._unit = unit
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

    def preparing(self, stage: str, done: int, total: int) -> None:
        """Show how far the base model is."""
        if stage:
            what = f"building the base model: {stage}"
            self._bar.update(self._task, description=what, completed=done, total=total)
            self._line(f"{what}, {done} of {total} steps")

    def progressed(self, n_units: int, total: int) -> None:
        """Show how many units are done."""
        self._bar.update(self._task, description="editing", completed=n_units, total=total)
        self._line(f"{n_units} of {total} {self._unit}")

    def trial_ended(self, plan: TrialPlan, failure: Failure | None) -> None:
        """Say in a line that a trial has ended."""
        if failure is None:
            self._bar.console.print(f"trial {plan.number} complete: {plan.label}")
        else:
            self._bar.console.print(
                f"[red]trial {plan.number} failed[/red]: {plan.label}: {failure.reason}"
            )

    def _line(self, text: str) -> None:
        """Print a line now and then where there is no terminal."""
        if not self._live and time.monotonic() - self._line_s >= _LINE_EVERY_S:
            self._line_s = time.monotonic()
            self._console.print(text)
