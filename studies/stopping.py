"""Signals that end a run: the first lets it stop at its next checkpoints."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from orchestrator.surroundings import StopRequest

_OF_A_SIGNAL = 128  # what shells add to its number


class Stopped:
    """What stopped a run.

    Attributes:
        exit_code: 130 after Ctrl-C, 143 after SIGTERM; 130 while nothing has.
    """

    def __init__(self) -> None:
        self.exit_code = _OF_A_SIGNAL + signal.SIGINT


@contextmanager
def stopping_on_signals(stop: StopRequest) -> Iterator[Stopped]:
    """Stop at the next checkpoint on the first Ctrl-C or SIGTERM, at once on a second Ctrl-C.

    SIGTERM never stops at once: schedulers send it several times to all processes of a job, and
    SIGKILL when they have waited for long enough.

    Args:
        stop: Asked to stop.
    """
    stopped = Stopped()
    interrupts = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if interrupts > 1:
            raise KeyboardInterrupt
        if not stop.asked:
            stopped.exit_code = _OF_A_SIGNAL + number
            stop.ask()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
