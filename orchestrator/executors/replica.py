"""A replica: the part of a worker process that runs blocks against the ledger."""

import logging
import os
import platform
import time
import traceback
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator import telemetry
from orchestrator.errors import InputError, Problem, ReplicaDirtyError
from orchestrator.executors.faults import Fault, fault_of
from orchestrator.executors.nodes import on_this_node, provide
from orchestrator.executors.protocol import (
    Event,
    Failed,
    Finished,
    Interrupted,
    Lost,
    Taken,
    WorkItem,
)
from orchestrator.ledger import Ledger
from orchestrator.logs import about, worker_name
from orchestrator.objective import Objective, Record, Segment, Site
from orchestrator.redaction import one_line
from orchestrator.sessions import Claims
from orchestrator.telemetry import Metric, NullTelemetry, Telemetry
from orchestrator.timed_points import TimedPoint

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReplicaPlan:
    """All that is needed to start a replica, wherever it will run.

    Attributes:
        objective: What is asked.
        ledger_uri: Where results and checkpoints go.
        site: Where the worker works.
        checkpoint_every_s: The least time between two checkpoints of a block; at 0 there is one
            wherever the block could be taken up again.
        session: Name of the driver's session, in which blocks are claimed.
        study: Whose blocks they are, for logs and measurements.
        logs: The log folder of the home; None logs where this process does anyway.
    """

    objective: Objective
    ledger_uri: str
    site: Site
    checkpoint_every_s: float = 1.0
    session: str = "alone"
    study: str = ""
    logs: Path | None = None


class Replica:
    """Runs one block at a time; its worker keeps model and caches warm from block to block.

    Attributes:
        done: Units done of the block that runs now.
        stop_asked: Set from another thread, to stop at the next checkpoint.
    """

    def __init__(self, plan: ReplicaPlan, meter: Telemetry | None = None, log: str = "") -> None:
        """Start the worker; models are loaded when the first block needs them.

        Args:
            plan: What is needed.
            meter: Where measurements go; None forgets them.
            log: File in which this process logs, for messages.
        """
        self._plan = plan = replace(plan, site=on_this_node(plan.site, os.environ))
        self._meter = meter or NullTelemetry()
        self._log = log
        self._ledger = Ledger(plan.ledger_uri)
        self._claims = Claims(self._ledger, plan.session)
        self._worker = plan.objective.open(plan.site)
        self._name = worker_name()
        self._trace = ""  # what was left in the worker, once something was
        self._saved = 0
        self._cancelled: set[str] = set()
        self.done = 0
        self.stop_asked = False

    @property
    def loads(self) -> int:
        """How many models the worker has loaded."""
        return self._worker.loads

    def cancel(self, block_id: str) -> None:
        """Let a block stop at its next checkpoint; may be called from another thread.

        The call may come before the block, or after it: the next try at it then stops at once.
        """
        self._cancelled.add(block_id)

    def run(self, item: WorkItem) -> Event:
        """Run a block to its end, or to where it can go on; see :meth:`steps`."""
        steps = self.steps(item)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                event: Event = end.value
                return event

    def steps(self, item: WorkItem) -> Generator[None, None, Event]:
        """Run a block to its end, or to where it can go on, pausing after each checkpoint.

        Everything measured is in the ledger before this returns. What the work raises becomes an
        event. A replica whose model is no longer what it loaded reports itself lost, and nothing
        that it measured for this block is kept; one whose ledger or device gives way reports the
        block lost, and what was checkpointed is kept.
        """
        observed = self._observed(item)
        while True:
            with about(trial=item.trial, block=item.block_id, attempt=item.attempt):
                try:  # a pause is the caller's own time: what it logs is not about this block
                    next(observed)
                except StopIteration as end:
                    event: Event = end.value
                    if isinstance(event, Failed | Interrupted):  # it does not go on here
                        self._claims.release(event.block_id, event.attempt)
                    return event
            yield

    def _observed(self, item: WorkItem) -> Generator[None, None, Event]:
        if self._trace:
            return self._lost_because(item, self._trace)
        self.done = self._saved = 0
        try:
            if self._ledger.is_complete(item.block_id):
                return Finished(item.block_id, item.attempt)
            if not self._claims.claim(item.block_id, item.attempt):
                return Taken(item.block_id, item.attempt)
            provide(self._plan.objective, item, self._plan.site)
            return (yield from self._run(item))
        except ReplicaDirtyError as error:
            return self._dirty(item, error)
        except InputError as error:
            event = self._failure(item, error, error.problems)
        except Exception as error:  # whatever the work raises is reported, never swallowed
            fault = fault_of(error)
            if fault is not None:
                return self._lost(item, error, fault)
            event = self._failure(item, error)
        try:
            self._worker.verify()
        except Exception as error:
            self._dirty(item, error)  # said when the next block comes
        return event

    def _run(self, item: WorkItem) -> Generator[None, None, Event]:
        if item.block_id in self._cancelled:
            self._cancelled.discard(item.block_id)
            return Interrupted(item.block_id, item.attempt)
        started = time.time()
        checkpoint = self._ledger.resume(item.block_id)
        resume, records = checkpoint if checkpoint else (None, [])
        self.done = resume.position if resume else 0
        _LOG.info("begins with %d units done", self.done)
        done_before = self._saved = self.done
        unsaved: list[Segment] = []
        attachment = None
        saved_s = went_in_s = time.monotonic()
        working_s = 0.0
        for segment in self._worker.run(item.params, item.streams, resume):
            working_s += time.monotonic() - went_in_s
            self._worked(time.monotonic() - went_in_s, segment.position - self.done)
            unsaved.append(segment)
            records += segment.records
            self.done, attachment = segment.position, segment.attachment
            stops = self._stops(item, segment)
            is_due = time.monotonic() - saved_s >= self._plan.checkpoint_every_s
            if (is_due or stops) and segment.position > self._saved:
                if not self._claims.holds(item.block_id, item.attempt):
                    return Taken(item.block_id, item.attempt)
                merged = _merged(unsaved)
                now_ms, begun_s = int(time.time() * 1000), time.monotonic()
                size = self._ledger.checkpoint(item.block_id, merged, now_ms, after=self._saved)
                unsaved, self._saved, saved_s = [], merged.position, time.monotonic()
                self._record(telemetry.CHECKPOINT_BYTES, size)
                self._record(telemetry.CHECKPOINT_S, saved_s - begun_s)
                if not stops:
                    yield
                    stops = self._stops(item, segment)
            if stops:
                self._cancelled.discard(item.block_id)
                self._worker.verify()
                return Interrupted(item.block_id, item.attempt)
            went_in_s = time.monotonic()
        self._worker.verify()
        working_s += time.monotonic() - went_in_s
        summaries = self._plan.objective.summarise(item.params, records)
        if not self._claims.holds(item.block_id, item.attempt):
            return Taken(item.block_id, item.attempt)
        finished_s = time.time()
        attempt = {
            "attempt": item.attempt,
            "worker": self._name,
            "python": platform.python_version(),
            "device": self._plan.site.device,
            "started_s": started,
            "finished_s": finished_s,
            "units": self.done - done_before,
            "working_s": working_s,
        }
        now_ms = int(finished_s * 1000)
        points = [TimedPoint(point, now_ms) for segment in unsaved for point in segment.points]
        self._ledger.complete(
            item.block_id,
            _in_order(records),
            summaries,
            attempt,
            points,
            None if attachment is None else attachment(),
        )
        _LOG.info("complete")
        return Finished(item.block_id, item.attempt)

    def _stops(self, item: WorkItem, segment: Segment) -> bool:
        asked = self.stop_asked or item.block_id in self._cancelled
        return asked and segment.position < segment.total  # else it is done

    def _dirty(self, item: WorkItem, error: Exception) -> Lost:
        """Keep nothing of a block, and run no other: the model is not what it was."""
        self._trace = str(error)
        _LOG.error("the replica is given up: %s", self._trace)
        self._ledger.discard_work(item.block_id)
        return self._lost_because(item, self._trace)

    def _lost(self, item: WorkItem, error: Exception, fault: Fault) -> Lost:
        reason = one_line(error)
        if fault == "worker":
            self._trace = reason  # what is left of the device is not to be trusted
        _LOG.error("lost after %d units", self.done, exc_info=error)
        return self._lost_because(item, reason, self._saved, fault)

    def _lost_because(
        self, item: WorkItem, reason: str, position: int = 0, fault: Fault = "worker"
    ) -> Lost:
        return Lost(
            item.block_id,
            item.attempt,
            reason,
            position,
            fault,
            worker=self._name,
            log=self._log,
        )

    def _failure(
        self, item: WorkItem, error: Exception, problems: tuple[Problem, ...] = ()
    ) -> Failed:
        _LOG.error("failed after %d units", self.done, exc_info=error)
        return Failed(
            item.block_id,
            item.attempt,
            f"{type(error).__name__}: {error}",
            traceback.format_exc(),
            self._name,
            problems,
            self.done,
            self._log,
        )

    def _worked(self, seconds: float, units: int) -> None:
        self._record(telemetry.WORKING_S, seconds)
        self._record(telemetry.UNITS, units, unit=self._plan.objective.unit)

    def _record(self, metric: Metric, value: float, **labels: str) -> None:
        self._meter.record(metric, value, study=self._plan.study, **labels)


def _merged(segments: list[Segment]) -> Segment:
    """Return several segments in a row as one."""
    last = segments[-1]
    return Segment(
        last.position,
        last.total,
        tuple(record for segment in segments for record in segment.records),
        tuple(point for segment in segments for point in segment.points),
        last.state,
    )


def _in_order(records: list[Record]) -> list[Record]:
    """Sort by stream and place; within a place records keep the order they were measured in."""
    at_the_end = max((record.position for record in records), default=0) + 1
    return sorted(records, key=lambda r: (r.stream, at_the_end if r.position < 0 else r.position))
