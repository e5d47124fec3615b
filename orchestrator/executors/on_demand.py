"""An executor that starts only when something has to run."""

from collections.abc import Callable, Iterable, Mapping

from orchestrator.executors.protocol import (
    Event,
    Executor,
    Interrupted,
    PrepareProgress,
    Sign,
    WorkItem,
)
from orchestrator.objective import Params
from orchestrator.telemetry import NullTelemetry, Telemetry


class OnDemandExecutor:
    """Wraps an executor that is expensive to start, for studies that are already done.

    The item that starts it waits here until the first replica is up.
    """

    def __init__(self, make: Callable[[], Executor]) -> None:
        """Take what makes the executor; it is called once, or never."""
        self._make = make
        self._inner: Executor | None = None
        self._waiting: WorkItem | None = None
        self._polls = 0
        self._is_cancelled = False

    def start(self) -> None:
        """Make and start the executor, unless that has happened."""
        self._running()

    def prepare(self, params: Params, progress: PrepareProgress) -> None:
        """Start, and let a replica prepare."""
        self._running().prepare(params, progress)

    @property
    def free(self) -> int:
        """One before the start, and none until the item that caused it runs."""
        if self._waiting is not None:
            return 0
        return self._inner.free if self._inner else 1

    @property
    def holds(self) -> tuple[str, ...]:
        """Nothing before the start."""
        if self._waiting is not None:
            return ()
        return self._inner.holds if self._inner else ("",)

    def launch(self, item: WorkItem) -> None:
        """Start, and launch as soon as a replica is up."""
        inner = self._running()
        if inner.free:
            inner.launch(item)
        else:
            self._waiting, self._is_cancelled = item, False

    def abandon(self, block_id: str) -> None:
        """Nothing before the start."""
        if self._waiting is not None and self._waiting.block_id == block_id:
            self._waiting = None
        elif self._inner:
            self._inner.abandon(block_id)

    def poll(self, timeout_s: float) -> list[Event]:
        """Nothing happens before the start."""
        if self._inner is None:
            return []
        events: list[Event] = []
        item = self._waiting
        if item is not None and self._is_cancelled:
            self._waiting, events = None, [Interrupted(item.block_id, item.attempt)]
        self._polls += 1
        events += self._inner.poll(timeout_s)
        if self._waiting is not None and self._inner.free:
            item, self._waiting = self._waiting, None
            self._inner.launch(item)
        return events

    def progress(self) -> Mapping[str, Sign]:
        """Nothing before the start; an item that waits for it shows signs of life."""
        waiting = {} if self._waiting is None else {self._waiting.block_id: Sign(0, self._polls)}
        return {**waiting, **(self._inner.progress() if self._inner else {})}

    def cancel(self, block_ids: Iterable[str]) -> None:
        """Nothing before the start."""
        cancelled = set(block_ids)
        if self._waiting is not None and self._waiting.block_id in cancelled:
            self._is_cancelled = True
        if self._inner:
            self._inner.cancel(cancelled)

    def ask_to_stop(self) -> None:
        """Nothing before the start."""
        self._is_cancelled = True
        if self._inner:
            self._inner.ask_to_stop()

    def close(self) -> None:
        """Close what was started."""
        self._waiting = None
        if self._inner:
            self._inner.close()

    @property
    def n_actors(self) -> int:
        """None before the start."""
        return self._inner.n_actors if self._inner else 0

    @property
    def telemetry(self) -> Telemetry:
        """Nowhere before the start."""
        return self._inner.telemetry if self._inner else NullTelemetry()

    @property
    def model_loads(self) -> int:
        """None before the start."""
        return self._inner.model_loads if self._inner else 0

    def _running(self) -> Executor:
        if self._inner is None:
            self._inner = self._make()
            self._inner.start()
        return self._inner
