"""What a driver is given by whoever starts it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from orchestrator.executors.protocol import Executor, PrepareProgress
from orchestrator.objective import Params
from orchestrator.outages import Patience, passing_over_outages
from orchestrator.plan import TrialPlan
from orchestrator.results import StudyResults
from orchestrator.sessions import Roster
from orchestrator.tracking.protocol import Tracker
from orchestrator.trials import Failure


class Watcher(Protocol):
    """Told what goes on, to show it."""

    def preparing(self, stage: str, done: int, total: int) -> None:
        """Something is built that all trials need."""
        ...

    def progressed(self, n_units: int, total: int) -> None:
        """So many units of this run's total are done; a search's total grows."""
        ...

    def trial_ended(self, plan: TrialPlan, failure: Failure | None) -> None:
        """A trial is complete, or has failed."""
        ...

    def trial_pruned(self, plan: TrialPlan, step: int) -> None:
        """A trial was stopped after a step, counted from 0."""
        ...


class StopRequest:
    """Made by a signal handler; the sweep stops at the next checkpoints.

    Attributes:
        asked: Whether it was made.
        listeners: Called when it is made, from the signal handler.
    """

    def __init__(self) -> None:
        self.asked = False
        self.listeners: list[Callable[[], None]] = []

    def ask(self) -> None:
        """Make the request; asking again changes nothing."""
        if not self.asked:
            self.asked = True
            for listener in self.listeners:
                listener()


@dataclass(frozen=True)
class Surroundings:
    """What a sweep is given by whoever starts it.

    Attributes:
        make_executor: Makes the executor for so many missing blocks, in a driver's session.
        tracker: The mirror.
        watcher: Shows progress.
        stop: Asked by a signal handler.
        tags: Provenance for the tracker.
        artifacts: Draws the study's tables and pages, file name to text.
        clock: Seconds that do not go back.
        sleep: Waits for so many of them.
        poll_s: How long one pass may wait for something to happen.
        backlog: How many writes wait for the mirror.
        prepare: Builds what trials need in the driver's own cache; None lets a replica do that,
            whose cache is the driver's.
    """

    make_executor: Callable[[int, str], Executor]
    tracker: Tracker
    watcher: Watcher
    stop: StopRequest
    tags: Mapping[str, str]
    artifacts: Callable[[StudyResults], Mapping[str, str]]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    poll_s: float = 0.2
    backlog: Callable[[], int] = lambda: 0
    prepare: Callable[[Params, PrepareProgress], None] | None = None

    def patience(self, roster: Roster, limit_s: float) -> Patience:
        """Return how a driver waits for stores that are away.

        Args:
            roster: Tells meanwhile that the driver lives, where that can be told.
            limit_s: For how long, in s; until it is asked to stop at the most.
        """

        def pause(wait_s: float) -> bool:
            with passing_over_outages("the ledger"):
                roster.beat()
            self.sleep(wait_s)
            return not self.stop.asked

        return Patience(self.clock, pause, limit_s)
