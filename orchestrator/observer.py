"""What a driver tells those who watch: logs, measurements, and what it is at right now."""

import logging
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator import telemetry
from orchestrator.executors.protocol import (
    Event,
    Failed,
    Finished,
    Interrupted,
    Lost,
    Taken,
    WorkItem,
)
from orchestrator.logs import about, worker_name
from orchestrator.telemetry import TelemetrySource

_LOG = logging.getLogger(__name__)
_ERROR_NAME = re.compile(r"(\w{1,60}):")


class SweepObserver:
    """Follows one run of a study; told of launches and events by the scheduler.

    Attributes:
        in_flight: Items that replicas work on, by block id.
        retries: Launches that were not the first of their block.
        lost: Attempts whose replica is gone, by reason.
        failed: Blocks that failed their trial by what they raised.
    """

    def __init__(self, study: str, source: TelemetrySource) -> None:
        """Take the study's name, and what gives the telemetry; it may change as replicas start."""
        self._study, self._source = study, source
        self.in_flight: dict[str, WorkItem] = {}
        self.retries = 0
        self.lost: Counter[str] = Counter()
        self.failed = 0

    def launched(self, item: WorkItem) -> None:
        """Note that a replica was given an item."""
        self.in_flight[item.block_id] = item
        self.retries += item.attempt > 1
        self._record(telemetry.RETRIES, item.attempt > 1)
        with about(trial=item.trial, block=item.block_id, attempt=item.attempt):
            _LOG.info("launched streams %s", ", ".join(map(str, item.streams)))

    def reported(self, event: Event) -> None:
        """Note what became of an item."""
        item = self.in_flight.pop(event.block_id)
        worker = event.worker if isinstance(event, Lost | Failed) else ""
        with about(
            trial=item.trial, block=item.block_id, attempt=item.attempt, worker=worker or None
        ):
            match event:
                case Finished():
                    _LOG.info("finished")
                case Interrupted():
                    _LOG.info("interrupted at a checkpoint")
                case Taken():
                    _LOG.info("another driver works on it")
                case Lost():
                    reason = reason_kind(event.reason)
                    self.lost[reason] += 1
                    self._record(telemetry.LOST, 1, reason=reason)
                    _LOG.warning("lost: %s", event.reason)
                case Failed():
                    self.failed += 1
                    self._record(telemetry.FAILED, 1)
                    _LOG.error("failed: %s\n%s", event.reason, event.details)

    def measure(self, states: Iterable[str], n_replicas: int, backlog: int) -> None:
        """Let gauges show how things stand.

        Args:
            states: Of every block.
            n_replicas: Replicas when all are up.
            backlog: Writes that wait for the mirror.
        """
        counts = Counter(states)
        for state in telemetry.BLOCK_STATES:
            self._record(telemetry.BLOCKS, counts[state], state=state)
        self._record(telemetry.IN_FLIGHT, len(self.in_flight))
        self._record(telemetry.REPLICAS, n_replicas)
        self._record(telemetry.BACKLOG, backlog)

    def progress(
        self,
        states: Iterable[str],
        done: Mapping[str, int],
        *,
        units_executed: int,
        units_missing: int,
        elapsed_s: float,
    ) -> dict[str, Any]:
        """Return what is remembered of the run while it goes on.

        Args:
            states: Of every block.
            done: Units done of running blocks, by block id.
            units_executed: Units of blocks that this run has ended.
            units_missing: What this run has, or had, to do.
            elapsed_s: Seconds since the first launch.

        Returns:
            ``driver`` (``host:pid``), ``saved_s`` (by its clock, since the epoch), ``elapsed_s``,
            ``units_done``, ``units_missing``, ``blocks`` (by state), ``in_flight`` (a mapping a
            block: ``block_id``, ``trial``, ``attempt``, ``done``, a list of ``streams``),
            ``retries``, ``lost`` (by reason), ``failed_blocks``.
        """
        return {
            "driver": worker_name(),
            "saved_s": time.time(),
            "elapsed_s": elapsed_s,
            "units_done": units_executed + sum(done.values()),
            "units_missing": units_missing,
            "blocks": dict(sorted(Counter(map(str, states)).items())),
            "in_flight": [
                {
                    "block_id": item.block_id,
                    "trial": item.trial,
                    "attempt": item.attempt,
                    "streams": list(item.streams),
                    "done": done.get(item.block_id, 0),
                }
                for item in self.in_flight.values()
            ],
            "retries": self.retries,
            "lost": dict(sorted(self.lost.items())),
            "failed_blocks": self.failed,
        }

    def _record(self, metric: telemetry.Metric, value: float, **labels: str) -> None:
        self._source().record(metric, value, study=self._study, **labels)


def reason_kind(reason: str) -> str:
    """Return the kind of a loss, one of few: the name of its error, or ``other``."""
    found = _ERROR_NAME.match(reason)
    return found[1] if found else "other"
