"""How a running study goes, for people who watch it: read from the ledger, and nothing else."""

import os
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.ledger import Ledger
from orchestrator.logs import worker_name
from orchestrator.study_memory import checked
from orchestrator.trials import BlockState, TrialState

_WINDOW_S = 60.0


@dataclass(frozen=True)
class Flight:
    """A block that a replica works on."""

    trial: int
    streams: tuple[int, ...]
    attempt: int
    done: int
    units: int


@dataclass(frozen=True)
class Glimpse:
    """A study at one moment.

    Attributes:
        study: Its name.
        unit: What a unit of the work is called, in the plural.
        state: ``running``, ``done``, ``failed`` or ``interrupted``.
        trials: Number by state.
        blocks: Number by state.
        units_done: Units that this run has done.
        units_missing: Units that this run has, or had, to do.
        units_per_s: Over the last minute; None while nothing can be said.
        left_s: Seconds until all is done at that rate, or None.
        retries: Launches that were not the first of their block.
        lost: Attempts whose replica is gone, by reason.
        failures: Number and cause of each failed trial.
        in_flight: What replicas work on.
        silent_s: For how long the driver has written nothing.
    """

    study: str
    unit: str
    state: str
    trials: Mapping[str, int]
    blocks: Mapping[str, int]
    units_done: int
    units_missing: int
    units_per_s: float | None
    left_s: float | None
    retries: int
    lost: Mapping[str, int]
    failures: tuple[tuple[int, str], ...]
    in_flight: tuple[Flight, ...]
    silent_s: float

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more, until somebody runs the study again."""
        return self.state != "running"


class StudyWatch:
    """Looks at a study again and again; takes no lock and writes nothing.

    A driver that was killed cannot say so. If it ran on this machine, its process is missed;
    of one elsewhere it can only be said for how long it has been silent.
    """

    def __init__(self, ledger: Ledger, study: str, clock: Callable[[], float]) -> None:
        """Take what to look at; ``clock`` returns seconds and does not go back."""
        self._ledger, self._study, self._clock = ledger, study, clock
        self._memory: dict[str, Any] = {}
        self._changed_s = clock()
        self._rates: deque[tuple[float, int]] = deque()  # seconds of the run, units done

    def look(self) -> Glimpse:
        """Read what the driver last wrote.

        Raises:
            FileNotFoundError: If the ledger has no such study.
            InputError: If what it has is not what a driver writes.
        """
        found = self._ledger.study(self._study)
        if found is None and not self._memory:
            raise FileNotFoundError(self._study)
        if found is not None and found != self._memory:
            self._memory = checked(found, f"{self._ledger.uri}/studies/{self._study}.json")
            self._changed_s = self._clock()
        memory = self._memory
        progress: Mapping[str, Any] = memory.get("progress") or {}
        state = memory["state"]
        if state == "running" and _is_dead(progress.get("driver", "")):
            state = "interrupted"
        trials = memory["trials"]
        done, missing = progress.get("units_done", 0), progress.get("units_missing", 0)
        rate = self._rate(progress.get("elapsed_s", 0.0), done)
        return Glimpse(
            self._study,
            memory["unit"],
            state,
            _all_states(TrialState, Counter(trial["state"] for trial in trials)),
            _all_states(BlockState, progress.get("blocks") or self._blocks(trials)),
            done,
            missing,
            rate,
            (missing - done) / rate if rate and progress else None,
            progress.get("retries", 0),
            progress.get("lost", {}),
            tuple(
                (trial["number"], str(trial["failure"]).partition("\n")[0])
                for trial in trials
                if trial["state"] == TrialState.FAILED
            ),
            tuple(_flight(one, trials) for one in progress.get("in_flight", ())),
            self._clock() - self._changed_s,
        )

    def _blocks(self, trials: list[dict[str, Any]]) -> Counter[str]:
        """Count the blocks of a study that has ended by what the ledger holds."""
        counts: Counter[str] = Counter()
        for trial in trials:
            ids = [block["block_id"] for block in trial["blocks"]]
            n_there = len(self._ledger.results(ids))
            left = "failed" if trial["state"] == TrialState.FAILED else "waiting"
            counts["complete"] += n_there
            counts[left] += len(ids) - n_there
        return counts

    def _rate(self, elapsed_s: float, done: int) -> float | None:
        if self._rates and elapsed_s < self._rates[-1][0]:
            self._rates.clear()  # another run of the study
        if not self._rates or elapsed_s > self._rates[-1][0]:
            self._rates.append((elapsed_s, done))
        while len(self._rates) > 2 and elapsed_s - self._rates[1][0] >= _WINDOW_S:
            self._rates.popleft()
        first_s, first = self._rates[0] if len(self._rates) > 1 else (0.0, 0)
        return (done - first) / (elapsed_s - first_s) if elapsed_s > first_s else None


def _all_states(kinds: type[TrialState] | type[BlockState], counts: Mapping[str, int]) -> Any:
    return {str(kind): counts.get(str(kind), 0) for kind in kinds}


def _flight(one: Mapping[str, Any], trials: list[dict[str, Any]]) -> Flight:
    units = 0
    for trial in trials:
        if trial["number"] == one["trial"]:
            units = next(
                (b["units"] for b in trial["blocks"] if b["block_id"] == one["block_id"]), 0
            )
    return Flight(one["trial"], tuple(one["streams"]), one["attempt"], one["done"], units)


def _is_dead(driver: str) -> bool:
    """Whether a driver ran on this machine, and runs no more."""
    host, _, process = driver.rpartition(":")
    if not process.isdigit() or host != worker_name().rpartition(":")[0]:
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
