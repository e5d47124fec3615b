"""The Ray executor: a pool of actors, each with its own device and a warm replica."""

import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from orchestrator.errors import WorkerLostError
from orchestrator.executors.protocol import Event, Lost, PrepareProgress, Sign, WorkItem
from orchestrator.executors.ray_loopback import on_loopback
from orchestrator.executors.ray_starting import start_ray
from orchestrator.executors.ray_telemetry import RayTelemetry, write_targets
from orchestrator.executors.replica import Replica, ReplicaPlan
from orchestrator.ledger import Ledger
from orchestrator.logs import open_log, worker_log, worker_name
from orchestrator.objective import Params
from orchestrator.outages import passing_over_outages
from orchestrator.redaction import one_line

_PROGRESS_EVERY_S = 1.0
_PREPARE_POLL_S = 0.2
_PREPARE_ATTEMPTS = 3
_MOST_FAILED_STARTS = 10  # in a row, each of actors that began after the one before
_GROW_EVERY_S = 5.0

_LOG = logging.getLogger(__name__)
_Method = TypeVar("_Method", bound=Callable[..., object])


def _control(method: _Method) -> _Method:
    """Let a method answer while a block runs."""
    return _in_thread("control", method)


def _in_thread(name: str, method: _Method) -> _Method:
    marked: _Method = ray.method(concurrency_group=name)(method)
    return marked


class _Actor:
    """The Ray side of a replica: work in one thread, control in another, life in a third."""

    def __init__(self, plan: ReplicaPlan) -> None:
        self._plan = plan
        self._log = ""
        if plan.logs is not None:
            path = worker_log(plan.logs, plan.study)
            open_log(path, study=plan.study, worker=worker_name())
            self._log = str(path)
        self._replica = Replica(plan, RayTelemetry(), self._log)
        self._preparing: tuple[str, int, int] = ("", 0, 0)

    def run(self, item: WorkItem) -> tuple[Event, int]:
        return self._replica.run(item), self._replica.loads

    def prepare(self, params: Params) -> None:
        def note(stage: str, done: int, total: int) -> None:
            self._preparing = (stage, done, total)

        self._plan.objective.prepare(params, self._plan.site, note)

    @_control
    def preparing(self) -> tuple[str, int, int]:
        return self._preparing

    @_control
    def place(self) -> tuple[str, str]:
        return worker_name(), self._log

    @_control
    def done(self) -> int:
        return self._replica.done

    @_control
    def cancel(self, block_id: str) -> None:
        self._replica.cancel(block_id)

    @_control
    def stop(self) -> None:
        self._replica.stop_asked = True

    @partial(_in_thread, "life")
    def live(self) -> None:
        """Never answer: whoever waits for it learns when this process is gone."""
        threading.Event().wait()


@dataclass(eq=False)
class _Member:
    """One actor of the pool, and what it is busy with."""

    handle: Any
    life: Any  # answered, with an error, once the actor is gone
    coming: Any  # answered once the actor is up; None from then on
    born_s: float
    place: tuple[str, str] = ("", "")  # worker and log file, once it is up
    item: WorkItem | None = None
    reference: Any = None
    progress: Any = None
    done: int = 0
    heard: int = 0
    loads: int = 0
    holds: str = ""

    @property
    def is_free(self) -> bool:
        return self.coming is None and self.item is None


@dataclass(frozen=True)
class PoolSettings:
    """How large the pool is and what each actor owns.

    Attributes:
        n_actors: Number of actors. Those for which there is no room wait for nodes that join.
        gpus: GPUs an actor; fractions share one.
        cpus: CPUs an actor.
        options: Further options of the actors, as for ``ray.remote``.
        address: A running cluster; None starts a private one on this machine.
        room: Tells for how many actors the cluster has room, busy or not; the pool grows with it.
            None: it does not grow.
        most: Actors to which it grows.
    """

    n_actors: int
    gpus: float
    cpus: float
    address: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    room: Callable[[], int] | None = None
    most: int = 0


class RayExecutor:
    """See :class:`orchestrator.executors.protocol.Executor`.

    A lost actor is replaced by a fresh one; Ray itself restarts and retries nothing, so that
    every try at a block is one that the scheduler decided on. An actor counts once it is up: while
    a node is gone, its actors wait for room, and the pool is as much smaller.
    """

    def __init__(self, plan: ReplicaPlan, settings: PoolSettings) -> None:
        """Take what replicas will need; nothing starts yet."""
        self._plan = plan
        self._settings = settings
        self._members: list[_Member] = []
        self._ledger = Ledger(plan.ledger_uri)
        self._loads_of_the_gone = self._failed_starts = 0
        self._progress_at = self._grown_at = self._start_failed_s = 0.0
        self._started_ray = False
        self._targets: Path | None = None
        self._stop_wanted = False
        self._telemetry = RayTelemetry()

    def start(self) -> None:
        """Start Ray, unless it runs already, and the actors."""
        settings = self._settings
        if not ray.is_initialized():
            private = settings.address is None
            resources: dict[str, Any] = {"address": settings.address}
            if private:
                cores = max(os.cpu_count() or 1, math.ceil(settings.n_actors * settings.cpus))
                # None would join a cluster that somebody has started on this machine
                resources = {"address": "local", "num_cpus": cores, "include_dashboard": False}
            with on_loopback() if private else contextlib.nullcontext():
                start_ray(**resources)
            self._started_ray = True
            if private and self._plan.logs is not None:
                self._targets = self._plan.logs / f"{self._plan.study}.prometheus.json"
                write_targets(self._targets, self._plan.study)
        self._members = [self._new_member() for _ in range(settings.n_actors)]

    def prepare(self, params: Params, progress: PrepareProgress) -> None:
        """Let one actor build; the others start meanwhile.

        Raises:
            WorkerLostError: If the actor died, and those in its place.
        """
        for attempt in range(1, _PREPARE_ATTEMPTS + 1):
            member = self._members[0]
            reference = member.handle.prepare.remote(params)
            try:
                while not ray.wait([reference], timeout=_PREPARE_POLL_S)[0]:
                    with contextlib.suppress(ray.exceptions.GetTimeoutError):
                        progress(*ray.get(member.handle.preparing.remote(), timeout=1))
                ray.get(reference)
                return
            except RayTaskError as error:
                raise error.as_instanceof_cause() from None
            except RayError as error:
                self._replace(member)
                if attempt == _PREPARE_ATTEMPTS:
                    what = f"the replica died while it prepared: {error}"
                    raise WorkerLostError(what) from error

    @property
    def free(self) -> int:
        """Actors that are up, and without an item."""
        return sum(member.is_free for member in self._members)

    @property
    def holds(self) -> tuple[str, ...]:
        """What was last asked of each free actor."""
        return tuple(member.holds for member in self._members if member.is_free)

    def launch(self, item: WorkItem) -> None:
        """Give the item to a free actor: one warm for it, else one that is not warm at all.

        Whoever starts on demand has an item before any actor is up; Ray keeps it for the first.
        """
        idle = [member for member in self._members if member.item is None]
        free = [member for member in idle if member.is_free] or idle
        fit = {item.affinity: 0, "": 1}
        member = min(free, key=lambda member: fit.get(member.holds, 2))
        member.item, member.done, member.holds = item, 0, item.affinity
        member.reference = member.handle.run.remote(item)

    def abandon(self, block_id: str) -> None:
        """Kill the actor that runs a block, and replace it."""
        for member in self._members:
            if member.item is not None and member.item.block_id == block_id:
                self._replace(member)

    def poll(self, timeout_s: float) -> list[Event]:
        """Collect finished items; replace actors that are gone; let the pool grow."""
        if self._stop_wanted:
            self._stop_wanted = False
            for member in self._members:
                member.handle.stop.remote()
        self._grow()
        watched = {member.reference: member for member in self._members if member.item is not None}
        watched |= {member.coming: member for member in self._members if member.coming is not None}
        watched |= {member.life: member for member in self._members if member.is_free}
        if not watched:
            time.sleep(timeout_s)  # whoever polls has nothing to do before then either
            return []
        references = list(watched)
        ready = ray.wait(references, num_returns=1, timeout=timeout_s)[0]
        if ready:
            ready = ray.wait(references, num_returns=len(references), timeout=0)[0]
        events = []
        for reference in ready:
            member = watched[reference]
            if reference is member.coming:
                self._welcome(member)
            elif reference is member.life:
                _LOG.warning("an idle replica is gone: %s", member.place[0])
                self._replace(member)
            else:
                events.append(self._collect(member))
        return events

    def progress(self) -> Mapping[str, Sign]:
        """What the actors last said; each is asked once a second, and never waited for."""
        busy = [member for member in self._members if member.item is not None]
        for member in busy:
            if member.progress is not None and ray.wait([member.progress], timeout=0)[0]:
                with contextlib.suppress(RayError):
                    member.done = ray.get(member.progress)
                    member.heard += 1
                member.progress = None
        if time.monotonic() >= self._progress_at:
            self._progress_at = time.monotonic() + _PROGRESS_EVERY_S
            for member in busy:
                if member.progress is None:
                    member.progress = member.handle.done.remote()
        return {m.item.block_id: Sign(m.done, m.heard) for m in busy if m.item}

    def cancel(self, block_ids: Iterable[str]) -> None:
        """Tell the actors that run the blocks, through their control threads."""
        cancelled = set(block_ids)
        for member in self._members:
            if member.item is not None and member.item.block_id in cancelled:
                member.handle.cancel.remote(member.item.block_id)

    def ask_to_stop(self) -> None:
        """Note the wish; ``poll`` tells every actor through its control thread."""
        self._stop_wanted = True

    def close(self) -> None:
        """Kill the actors, and Ray if this executor started it."""
        for member in self._members:
            self._loads_of_the_gone += member.loads
            with contextlib.suppress(RayError):
                ray.kill(member.handle)
        self._members = []
        if self._targets is not None:
            self._targets.unlink(missing_ok=True)
        if self._started_ray:
            ray.shutdown()
            self._started_ray = False

    @property
    def n_actors(self) -> int:
        """As many as are wanted now, those included that have no room."""
        return len(self._members) or self._settings.n_actors

    @property
    def telemetry(self) -> RayTelemetry:
        """Ray's agent on this node."""
        return self._telemetry

    @property
    def model_loads(self) -> int:
        """Sum over all actors there were."""
        return self._loads_of_the_gone + sum(member.loads for member in self._members)

    def _collect(self, member: _Member) -> Event:
        item = member.item
        assert item is not None
        member.item, member.progress = None, None
        try:
            event, member.loads = ray.get(member.reference)
        except RayTaskError:
            raise  # the replica reports what the work raises; this is a fault of ours
        except RayError as error:
            reason = one_line(error)
            position = self._position(item)
            worker, log = member.place
            event = Lost(item.block_id, item.attempt, reason, position, worker=worker, log=log)
        if isinstance(event, Lost) and event.fault == "worker":
            self._replace(member)
        return event  # type: ignore[no-any-return]

    def _position(self, item: WorkItem) -> int:
        with passing_over_outages("the ledger"):
            return self._ledger.position(item.block_id)
        return 0  # nobody knows

    def _welcome(self, member: _Member) -> None:
        """Count an actor that is up; one that could not start is tried again later."""
        try:
            member.place, member.coming = ray.get(member.coming), None
            self._failed_starts = 0
        except RayError as error:
            _LOG.warning("a replica could not start: %s", one_line(error))
            if member.born_s > self._start_failed_s:  # a node that goes takes all that start on it
                self._failed_starts += 1
                self._start_failed_s = time.monotonic()
            if self._failed_starts >= _MOST_FAILED_STARTS:
                raise WorkerLostError(f"no replica can start: {error}") from error
            if member.item is None:
                self._replace(member)
            else:
                member.coming = None  # its item is lost, and takes it along

    def _replace(self, member: _Member) -> None:
        self._loads_of_the_gone += member.loads
        with contextlib.suppress(RayError):
            ray.kill(member.handle)
        self._members[self._members.index(member)] = self._new_member()

    def _grow(self) -> None:
        """Ask for another actor for each that nodes have room for by now."""
        room = self._settings.room
        if room is None or time.monotonic() < self._grown_at + _GROW_EVERY_S:
            return
        self._grown_at = time.monotonic()
        for _ in range(min(room(), self._settings.most) - len(self._members)):
            self._members.append(self._new_member())

    def _new_member(self) -> _Member:
        actor = ray.remote(concurrency_groups={"control": 1, "life": 1})(_Actor).options(
            num_cpus=self._settings.cpus,
            num_gpus=self._settings.gpus,
            max_restarts=0,
            max_task_retries=0,
            **self._settings.options,
        )
        handle = actor.remote(self._plan)
        return _Member(handle, handle.live.remote(), handle.place.remote(), time.monotonic())
