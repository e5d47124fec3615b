"""A live view of a running study on a terminal, or a line a change where there is none."""

import time
from collections.abc import Callable, Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.live_status import Glimpse, StudyWatch

_SILENT_S = 30.0
_MOST_SHOWN = 12


def watch(
    study: StudyWatch,
    console: Console,
    every_s: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Glimpse:
    """Show a study until it ends.

    Args:
        study: What to look at.
        console: Where to show it; a line a change if it is no terminal.
        every_s: Seconds between two looks.
        sleep: Waits for so many seconds.

    Returns:
        How it ended.
    """
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=False) as live:
            while True:
                seen = study.look()
                live.update(view(seen), refresh=True)
                if seen.has_ended:
                    return seen
                sleep(every_s)
    shown: object = None
    while True:
        seen = study.look()
        what = (seen.state, seen.trials, seen.blocks, seen.retries, seen.failures, _silence(seen))
        if what != shown:
            console.print(line(seen), markup=False, soft_wrap=True)
            shown = what
        if seen.has_ended:
            return seen
        sleep(every_s)


def view(seen: Glimpse) -> RenderableType:
    """Draw a study at one moment."""
    head = Text(f"{seen.study}: {seen.state}{_silence(seen)}", style="bold")
    table = Table.grid(padding=(0, 2))
    table.add_row("trials", _counts(seen.trials))
    table.add_row("blocks", _counts(seen.blocks))
    if seen.units_missing:
        table.add_row(seen.unit, f"{seen.units_done} of {seen.units_missing}{_speed(seen)}")
    lost = f"; lost: {_counts(seen.lost)}" if seen.lost else ""
    table.add_row("retries", f"{seen.retries}{lost}")
    for number, cause in seen.failures[:_MOST_SHOWN]:
        table.add_row("failed", Text(f"trial {number}: {cause}", style="red", overflow="ellipsis"))
    if len(seen.failures) > _MOST_SHOWN:
        table.add_row("", f"and {len(seen.failures) - _MOST_SHOWN} more")
    running = Table.grid(padding=(0, 2))
    for flight in seen.in_flight[:_MOST_SHOWN]:
        again = "" if flight.attempt == 1 else f", attempt {flight.attempt}"
        streams = ", ".join(map(str, flight.streams))
        running.add_row(
            f"trial {flight.trial}",
            f"streams {streams}{again}",
            ProgressBar(total=flight.units or None, completed=flight.done, width=20),
            f"{flight.done} of {flight.units}",
        )
    if len(seen.in_flight) > _MOST_SHOWN:
        running.add_row(f"and {len(seen.in_flight) - _MOST_SHOWN} more")
    return Group(head, table, running)


def line(seen: Glimpse) -> str:
    """Say in a line how a study goes."""
    parts = [f"trials {_counts(seen.trials)}", f"blocks {_counts(seen.blocks)}"]
    if seen.units_missing:
        parts.append(f"{seen.units_done} of {seen.units_missing} {seen.unit}{_speed(seen)}")
    if seen.retries:
        parts.append(f"{seen.retries} retries")
    parts += [f"trial {number}: {cause}" for number, cause in seen.failures[-1:]]
    return f"{seen.study} {seen.state}{_silence(seen)}: {'; '.join(parts)}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in counts.items() if n) or "none yet"


def _speed(seen: Glimpse) -> str:
    if not seen.units_per_s:
        return ""
    left = "" if not seen.left_s else f", about {_duration(seen.left_s)} left"
    return f", {seen.units_per_s:.1f} {seen.unit}/s{left}"


def _silence(seen: Glimpse) -> str:
    """Say that the driver writes nothing; in whole minutes, so that it changes rarely."""
    if seen.has_ended or seen.silent_s < _SILENT_S:
        return ""
    minutes = int(seen.silent_s // 60)
    return f" (silent for {f'{minutes} min' if minutes else 'half a minute'})"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
