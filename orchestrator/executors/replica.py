"""A replica: the part of a worker process that runs blocks against the ledger."""

import os
import platform
import socket
import time
import traceback
from dataclasses import dataclass, replace

from orchestrator.errors import InputError, Problem, ReplicaDirtyError
from orchestrator.executors.nodes import on_this_node, provide
from orchestrator.executors.protocol import Event, Failed, Finished, Interrupted, Lost, WorkItem
from orchestrator.ledger import Ledger, TimedPoint
from orchestrator.objective import Objective, Record, Segment, Site


@dataclass(frozen=True)
class ReplicaPlan:
    """All that is needed to start a replica, wherever it will run.

    Attributes:
        objective: What is asked.
        ledger_uri: Where results and checkpoints go.
        site: Where the worker works.
        checkpoint_every_s: The least time between two checkpoints of a block; at 0 there is one
            wherever the block could be taken up again.
    """

    objective: Objective
    ledger_uri: str
    site: Site
    checkpoint_every_s: float = 1.0


class Replica:
    """Runs one block at a time; its worker keeps model and caches warm from block to block.

    Attributes:
        done: Units done of the block that runs now.
        stop_asked: Set from another thread, to stop at the next checkpoint.
    """

    def __init__(self, plan: ReplicaPlan) -> None:
        """Start the worker; models are loaded when the first block needs them."""
        self._plan = plan = replace(plan, site=on_this_node(plan.site, os.environ))
        self._ledger = Ledger(plan.ledger_uri)
        self._worker = plan.objective.open(plan.site)
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._trace = ""  # what was left in the worker, once something was
        self.done = 0
        self.stop_asked = False

    @property
    def loads(self) -> int:
        """How many models the worker has loaded."""
        return self._worker.loads

    def run(self, item: WorkItem) -> Event:
        """Run a block to its end, or to where it can go on.

        Everything measured is in the ledger before this returns. What the work raises becomes an
        event. A replica whose model is no longer what it loaded reports itself lost, and nothing
        that it measured for this block is kept.
        """
        if self._trace:
            return Lost(item.block_id, item.attempt, self._trace)
        try:
            if self._ledger.is_complete(item.block_id):
                return Finished(item.block_id, item.attempt)
            provide(self._plan.objective, item, self._plan.site)
            return self._run(item)
        except ReplicaDirtyError as error:
            return self._lost(item, error)
        except InputError as error:
            event = self._failure(item, error, error.problems)
        except Exception as error:  # whatever the work raises is reported, never swallowed
            event = self._failure(item, error)
        try:
            self._worker.verify()
        except Exception as error:
            self._lost(item, error)  # said when the next block comes
        return event

    def _run(self, item: WorkItem) -> Event:
        started = time.time()
        checkpoint = self._ledger.resume(item.block_id)
        resume, records = checkpoint if checkpoint else (None, [])
        self.done = resume.position if resume else 0
        done_before = saved = self.done
        unsaved: list[Segment] = []
        attachment = None
        saved_s = went_in_s = time.monotonic()
        working_s = 0.0
        for segment in self._worker.run(item.params, item.streams, resume):
            working_s += time.monotonic() - went_in_s
            unsaved.append(segment)
            records += segment.records
            self.done, attachment = segment.position, segment.attachment
            stops = self.stop_asked and segment.position < segment.total  # else it is done
            is_due = time.monotonic() - saved_s >= self._plan.checkpoint_every_s
            if (is_due or stops) and segment.position > saved:
                merged = _merged(unsaved)
                now_ms = int(time.time() * 1000)
                self._ledger.checkpoint(item.block_id, merged, now_ms, after=saved)
                unsaved, saved, saved_s = [], merged.position, time.monotonic()
            if stops:
                self._worker.verify()
                return Interrupted(item.block_id, item.attempt)
            went_in_s = time.monotonic()
        self._worker.verify()
        working_s += time.monotonic() - went_in_s
        summaries = self._plan.objective.summarise(item.params, records)
        attempt = {
            "attempt": item.attempt,
            "worker": self._name,
            "python": platform.python_version(),
            "device": self._plan.site.device,
            "started_s": started,
            "finished_s": time.time(),
            "units": self.done - done_before,
            "working_s": working_s,
        }
        now_ms = int(time.time() * 1000)
        points = [TimedPoint(point, now_ms) for segment in unsaved for point in segment.points]
        self._ledger.complete(
            item.block_id,
            _in_order(records),
            summaries,
            attempt,
            points,
            None if attachment is None else attachment(),
        )
        return Finished(item.block_id, item.attempt)

    def _lost(self, item: WorkItem, error: Exception) -> Lost:
        self._trace = str(error)
        self._ledger.discard_work(item.block_id)
        return Lost(item.block_id, item.attempt, self._trace)

    def _failure(
        self, item: WorkItem, error: Exception, problems: tuple[Problem, ...] = ()
    ) -> Failed:
        return Failed(
            item.block_id,
            item.attempt,
            f"{type(error).__name__}: {error}",
            traceback.format_exc(),
            self._name,
            problems,
        )


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
