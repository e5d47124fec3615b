"""What the scheduler's decisions cost at scale: 10,000 blocks on 1,000 simulated replicas.

    python -m benchmarks.scheduling

No work is done and no time passes: a fake clock jumps from event to event. Replicas are killed,
fall silent, lose their ledger and leave with their nodes, as the seed says.
"""

import heapq
import random
import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.real import machine
from orchestrator.endurance import RetryPolicy
from orchestrator.executors.protocol import Event, Finished, Lost, Sign, WorkItem
from orchestrator.scheduler import Scheduler
from orchestrator.trials import BlockPlan, TrialOutcome, TrialWork

POISON = "poison"


@dataclass
class _Replica:
    number: int
    holds: str = ""
    item: WorkItem | None = None
    is_silent: bool = False
    is_gone: bool = False
    era: int = 0  # grows when what was planned for it no longer holds


@dataclass
class SimulatedPool:
    """An executor of many replicas, on a clock that the simulation moves.

    Attributes:
        n: Replicas.
        seed: Of all that happens to them.
        now_s: The time.
        launches: By block id.
        completed: By block id.
        loads: Models loaded.
        faults: By kind.
    """

    n: int
    seed: int
    now_s: float = 0.0
    launches: Counter[str] = field(default_factory=Counter)
    completed: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    loads: int = 0

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self._replicas = [_Replica(i) for i in range(self.n)]
        self._free = {replica.number: replica for replica in self._replicas}
        self._busy: dict[str, _Replica] = {}
        self._agenda: list[tuple[float, int, int, int]] = []  # time, tie, replica, era
        self._ties = 0
        self._events: list[Event] = []

    @property
    def free(self) -> int:
        """See :class:`orchestrator.executors.protocol.Executor`."""
        return len(self._free)

    @property
    def holds(self) -> tuple[str, ...]:
        """See :class:`orchestrator.executors.protocol.Executor`."""
        return tuple(replica.holds for replica in self._free.values())

    def launch(self, item: WorkItem) -> None:
        """See :class:`orchestrator.executors.protocol.Executor`."""
        assert item.block_id not in self._busy, "a block runs once at a time"
        warm = (r for r in self._free.values() if r.holds == item.affinity)
        cold = (r for r in self._free.values() if not r.holds)
        replica = next(warm, None) or next(cold, None) or next(iter(self._free.values()))
        self.loads += replica.holds != item.affinity
        replica.holds, replica.item = item.affinity, item
        replica.is_silent = self._draw.random() < 0.002
        self.faults["silent"] += replica.is_silent
        del self._free[replica.number]
        self._busy[item.block_id] = replica
        self.launches[item.block_id] += 1
        if not replica.is_silent:
            self._plan(replica, self._draw.uniform(5, 60))

    def abandon(self, block_id: str) -> None:
        """See :class:`orchestrator.executors.protocol.Executor`."""
        self._replace(self._busy.pop(block_id))

    def cancel(self, block_ids: object) -> None:
        """See :class:`orchestrator.executors.protocol.Executor`."""
        raise AssertionError("nothing is pruned here")

    def progress(self) -> dict[str, Sign]:
        """See :class:`orchestrator.executors.protocol.Executor`."""
        tick = int(self.now_s)
        return {
            block: Sign(0, 0 if replica.is_silent else tick)
            for block, replica in self._busy.items()
        }

    def poll(self, timeout_s: float) -> list[Event]:
        """See :class:`orchestrator.executors.protocol.Executor`."""
        events, self._events = self._events, []
        return events

    def advance(self) -> bool:
        """Go on to when something happens, at most for a second; False if nothing will."""
        if not self._agenda and not self._busy:
            return False
        until_s = self.now_s + 1.0
        if self._agenda:
            until_s = min(until_s, max(self._agenda[0][0], self.now_s))
        self.now_s = until_s
        while self._agenda and self._agenda[0][0] <= self.now_s:
            _, _, number, era = heapq.heappop(self._agenda)
            replica = self._replicas[number]
            if era == replica.era:
                self._happen(replica)
        return True

    def lose_nodes(self, n: int) -> None:
        """Take away as many replicas, which come back empty after five minutes."""
        for replica in self._replicas[:n]:
            item, replica.item = replica.item, None
            if item is not None:
                self._busy.pop(item.block_id, None)
                self.faults["node"] += 1
                self._events.append(Lost(item.block_id, item.attempt, "NodeDiedError: gone"))
            self._free.pop(replica.number, None)
            replica.holds, replica.is_silent, replica.is_gone = "", False, True
            self._plan(replica, 300.0)

    def _happen(self, replica: _Replica) -> None:
        item = replica.item
        if item is None:  # it is back
            replica.is_gone = False
            self._free[replica.number] = replica
            return
        del self._busy[item.block_id]
        replica.item = None
        chance = self._draw.random()
        if item.block_id == POISON or chance < 0.02:
            self.faults["killed"] += 1
            self._events.append(Lost(item.block_id, item.attempt, "ActorDiedError: killed"))
            self._replace(replica)
            return
        if chance < 0.03:
            self.faults["storage"] += 1
            self._events.append(Lost(item.block_id, item.attempt, "full", fault="storage"))
        else:
            self.completed[item.block_id] += 1
            self._events.append(Finished(item.block_id, item.attempt))
        self._free[replica.number] = replica

    def _replace(self, replica: _Replica) -> None:
        replica.holds, replica.item, replica.is_silent = "", None, False
        self._plan(replica, 3.0)

    def _plan(self, replica: _Replica, in_s: float) -> None:
        replica.era += 1
        self._ties += 1
        entry = (self.now_s + in_s, self._ties, replica.number, replica.era)
        heapq.heappush(self._agenda, entry)


@dataclass
class Outcome:
    """What became of a simulated study.

    Attributes:
        pool: Its replicas, with their counters.
        ended: How its trials ended, in that order.
        idle_passes: Passes after which a replica was free though a block had never been launched.
        cpu_s: What the scheduler and the simulation took.
    """

    pool: SimulatedPool
    ended: list[TrialOutcome]
    idle_passes: int
    cpu_s: float


def simulate(
    n_replicas: int = 1000, n_trials: int = 500, n_blocks: int = 20, *, seed: int = 0
) -> Outcome:
    """Run a study of ``n_trials`` trials of ``n_blocks`` blocks, of five models, to its end."""
    pool = SimulatedPool(n_replicas, seed)
    scheduler = Scheduler(pool, RetryPolicy(attempts=6, silence_s=30.0))  # type: ignore[arg-type]
    for number in range(n_trials):
        ids = [f"{number}-{i}" for i in range(n_blocks)]
        if number == n_trials // 2:
            ids[0] = POISON
        blocks = tuple(BlockPlan(block, (i,), 1) for i, block in enumerate(ids))
        scheduler.submit(TrialWork(number, {}, blocks, f"model {number % 5}"), ())
    total = n_trials * n_blocks
    ended: list[TrialOutcome] = []
    idle_passes = 0
    began_s, went_away = time.process_time(), False
    while not scheduler.is_idle:
        ended += scheduler.step(pool.now_s).ended
        idle_passes += pool.free > 0 and len(pool.launches) < total - n_blocks
        if not went_away and pool.now_s > 60:
            went_away = True
            pool.lose_nodes(n_replicas // 10)
        pool.advance()
    return Outcome(pool, ended, idle_passes, time.process_time() - began_s)


def main() -> None:
    """Print what the decisions cost."""
    print(machine())
    print()
    print("| replicas | blocks | CPU s | µs a launch | faults | model loads |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for n_replicas, n_trials in ((10, 50), (100, 500), (1000, 500)):
        found = simulate(n_replicas, n_trials)
        launches, faults = found.pool.launches.total(), found.pool.faults.total()
        print(
            f"| {n_replicas:,} | {n_trials * 20:,} | {found.cpu_s:.1f} "
            f"| {1e6 * found.cpu_s / launches:.0f} | {faults} | {found.pool.loads:,} |"
        )


if __name__ == "__main__":
    main()
