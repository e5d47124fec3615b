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

    The item that starts it waits here until a replica is up.
    """

    def __init__(self, make: Callable[[], Executor]) -> None:
        """Take what makes the executor; it is called once, or never."""
        self._make = make
        self._inner: Executor | None = None
        self._first: WorkItem | None = None
        self._first_is_off = self._stop_wanted = False

    def start(self) -> None:
        """Make and start the executor, unless that has happened."""
        self._running()

    def prepare(self, params: Params, progress: PrepareProgress) -> None:
        """Start, and let a replica prepare."""
        self._running().prepare(params, progress)

    @property
    def free(self) -> int:
        """One before the start, none while the first item waits."""
        if self._first is not None:
            return 0
        return self._inner.free if self._inner else 1

    @property
    def holds(self) -> tuple[str, ...]:
        """Nothing before the start."""
        if self._first is not None:
            return ()
        return self._inner.holds if self._inner else ("",)

    def launch(self, item: WorkItem) -> None:
        """Start if need be, and launch as soon as there is a replica."""
        inner = self._running()
        if inner.free and not self._stop_wanted:
            inner.launch(item)
        else:
            self._first, self._first_is_off = item, self._stop_wanted

    def abandon(self, block_id: str) -> None:
        """Nothing before the start."""
        if self._inner:
            self._inner.abandon(block_id)

    def poll(self, timeout_s: float) -> list[Event]:
        """Nothing happens before the start."""
        if self._inner is None:
            return []
        first = self._first
        if first is not None and self._first_is_off:
            self._first = None
            return [Interrupted(first.block_id, first.attempt)]
        if first is not None and self._inner.free:
            self._inner.launch(first)
            self._first = None
        return self._inner.poll(timeout_s)

    def progress(self) -> Mapping[str, Sign]:
        """Nothing before the start."""
        return self._inner.progress() if self._inner else {}

    def cancel(self, block_ids: Iterable[str]) -> None:
        """Nothing before the start."""
        ids = list(block_ids)
        self._first_is_off |= self._first is not None and self._first.block_id in ids
        if self._inner:
            self._inner.cancel(ids)

    def ask_to_stop(self) -> None:
        """Whatever starts after this is stopped at once."""
        self._stop_wanted = True
        self._first_is_off = self._first is not None
        if self._inner:
            self._inner.ask_to_stop()

    def close(self) -> None:
        """Close what was started."""
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
