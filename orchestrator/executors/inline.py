"""The inline executor: one replica in this process, for debugging and as the plain path."""

import time
from collections.abc import Generator, Iterable, Mapping

from orchestrator.executors.protocol import Event, Lost, PrepareProgress, Sign, WorkItem
from orchestrator.executors.replica import Replica, ReplicaPlan
from orchestrator.objective import Params
from orchestrator.telemetry import NullTelemetry, Telemetry


class InlineExecutor:
    """Runs items within ``poll``; see :class:`orchestrator.executors.protocol.Executor`.

    The work runs in the caller's process and thread, so a debugger stops in it. An interrupt is
    noticed at the block's next checkpoint, or after it.
    """

    def __init__(self, plan: ReplicaPlan) -> None:
        """Take what the replica will need; nothing starts yet."""
        self._plan = plan
        self._replica: Replica | None = None
        self._item: WorkItem | None = None
        self._steps: Generator[None, None, Event] | None = None
        self._loads_of_the_gone = 0
        self._held = ""

    def start(self) -> None:
        """Start the replica."""
        self._replica = Replica(self._plan)

    def prepare(self, params: Params, progress: PrepareProgress) -> None:
        """Build in this process."""
        self._plan.objective.prepare(params, self._plan.site, progress)

    @property
    def free(self) -> int:
        """One, or none while there is an item."""
        return int(self._item is None)

    @property
    def holds(self) -> tuple[str, ...]:
        """What the last item needed."""
        return (self._held,) * self.free

    def launch(self, item: WorkItem) -> None:
        """Keep the item for the next ``poll``."""
        self._item = item

    def abandon(self, block_id: str) -> None:
        """Forget the item; it runs in the caller's own thread, and so not now."""
        if self._item is not None and self._item.block_id == block_id:
            self._item = self._steps = None

    def poll(self, timeout_s: float) -> list[Event]:
        """Run the item to its next checkpoint; only an idle poll waits for its timeout."""
        if self._item is None:
            time.sleep(timeout_s)
            return []
        if self._replica is None:
            raise RuntimeError("start() comes before any work")
        if self._steps is None:
            self._steps = self._replica.steps(self._item)
        try:
            next(self._steps)
        except StopIteration as end:
            return [self._ended(self._replica, self._item, end.value)]
        return []

    def progress(self) -> Mapping[str, Sign]:
        """Nothing runs outside of ``poll``."""
        return {}

    def cancel(self, block_ids: Iterable[str]) -> None:
        """Let the item stop before its next unit if it is meant."""
        if self._replica and self._item and self._item.block_id in set(block_ids):
            self._replica.cancel(self._item.block_id)

    def ask_to_stop(self) -> None:
        """Let the running item stop at its next checkpoint."""
        if self._replica:  # else nothing runs; a signal may come at any time
            self._replica.stop_asked = True

    def close(self) -> None:
        """Drop the replica's warm state; its counters stay."""
        self._item = self._steps = None

    @property
    def n_actors(self) -> int:
        """One."""
        return 1

    @property
    def telemetry(self) -> Telemetry:
        """Nowhere."""
        return NullTelemetry()

    @property
    def model_loads(self) -> int:
        """What the replica has loaded, and those before it."""
        return self._loads_of_the_gone + (self._replica.loads if self._replica else 0)

    def _ended(self, replica: Replica, item: WorkItem, event: Event) -> Event:
        self._item = self._steps = None
        self._held = item.affinity
        if isinstance(event, Lost) and event.fault == "worker":  # its model is not what it loaded
            self._loads_of_the_gone += replica.loads
            self._replica = Replica(self._plan)
        return event
