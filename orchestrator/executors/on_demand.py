"""An executor that starts only when something has to run."""

from collections.abc import Callable, Iterable, Mapping

from orchestrator.executors.protocol import Event, Executor, PrepareProgress, Sign, WorkItem
from orchestrator.objective import Params
from orchestrator.telemetry import NullTelemetry, Telemetry


class OnDemandExecutor:
    """Wraps an executor that is expensive to start, for studies that are already done."""

    def __init__(self, make: Callable[[], Executor]) -> None:
        """Take what makes the executor; it is called once, or never."""
        self._make = make
        self._inner: Executor | None = None

    def start(self) -> None:
        """Make and start the executor, unless that has happened."""
        self._running()

    def prepare(self, params: Params, progress: PrepareProgress) -> None:
        """Start, and let a replica prepare."""
        self._running().prepare(params, progress)

    @property
    def free(self) -> int:
        """At least one before the start."""
        return self._inner.free if self._inner else 1

    @property
    def holds(self) -> tuple[str, ...]:
        """Nothing before the start."""
        return self._inner.holds if self._inner else ("",)

    def launch(self, item: WorkItem) -> None:
        """Start, and launch."""
        self._running().launch(item)

    def abandon(self, block_id: str) -> None:
        """Nothing before the start."""
        if self._inner:
            self._inner.abandon(block_id)

    def poll(self, timeout_s: float) -> list[Event]:
        """Nothing happens before the start."""
        return self._inner.poll(timeout_s) if self._inner else []

    def progress(self) -> Mapping[str, Sign]:
        """Nothing before the start."""
        return self._inner.progress() if self._inner else {}

    def cancel(self, block_ids: Iterable[str]) -> None:
        """Nothing before the start."""
        if self._inner:
            self._inner.cancel(block_ids)

    def ask_to_stop(self) -> None:
        """Nothing before the start."""
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
