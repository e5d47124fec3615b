"""The inline executor: one replica in this process, for debugging and as the plain path."""

import time
from collections.abc import Mapping

from orchestrator.executors.protocol import Event, Lost, PrepareProgress, Sign, WorkItem
from orchestrator.executors.replica import Replica, ReplicaPlan
from orchestrator.objective import Params


class InlineExecutor:
    """Runs each item within ``poll``; see :class:`orchestrator.executors.protocol.Executor`.

    The work runs in the caller's process and thread, so a debugger stops in it. An interrupt is
    noticed after the block that runs, or at its next checkpoint.
    """

    def __init__(self, plan: ReplicaPlan) -> None:
        """Take what the replica will need; nothing starts yet."""
        self._plan = plan
        self._replica: Replica | None = None
        self._waiting: list[WorkItem] = []
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
        """One, or none while an item waits."""
        return 1 - len(self._waiting)

    @property
    def holds(self) -> tuple[str, ...]:
        """What the last item needed."""
        return (self._held,) * self.free

    def launch(self, item: WorkItem) -> None:
        """Keep the item for the next ``poll``."""
        self._waiting.append(item)

    def abandon(self, block_id: str) -> None:
        """Forget an item that waits; one that runs is in the caller's own thread."""
        self._waiting = [item for item in self._waiting if item.block_id != block_id]

    def poll(self, timeout_s: float) -> list[Event]:
        """Run what was launched, to its end; only an idle poll waits for its timeout."""
        if not self._waiting:
            time.sleep(timeout_s)
        events = [self._run(item) for item in self._waiting]
        self._waiting.clear()
        return events

    def progress(self) -> Mapping[str, Sign]:
        """Nothing runs outside of ``poll``."""
        return {}

    def ask_to_stop(self) -> None:
        """Let the running item stop at its next checkpoint."""
        if self._replica:  # else nothing runs; a signal may come at any time
            self._replica.stop_asked = True

    def close(self) -> None:
        """Drop the replica's warm state; its counters stay."""
        self._waiting.clear()

    @property
    def n_actors(self) -> int:
        """One."""
        return 1

    @property
    def model_loads(self) -> int:
        """What the replica has loaded, and those before it."""
        return self._loads_of_the_gone + (self._replica.loads if self._replica else 0)

    def _run(self, item: WorkItem) -> Event:
        if self._replica is None:
            raise RuntimeError("start() comes before any work")
        event = self._replica.run(item)
        self._held = item.affinity
        if isinstance(event, Lost) and event.fault == "worker":  # its model is not what it loaded
            self._loads_of_the_gone += self._replica.loads
            self._replica = Replica(self._plan)
        return event
