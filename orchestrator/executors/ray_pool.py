"""The Ray executor: a pool of actors, each with its own device and a warm replica."""

import contextlib
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from orchestrator.errors import WorkerLostError
from orchestrator.executors.protocol import Event, Lost, PrepareProgress, WorkItem
from orchestrator.executors.ray_starting import start_ray
from orchestrator.executors.replica import Replica, ReplicaPlan
from orchestrator.objective import Params

_PROGRESS_EVERY_S = 1.0
_PREPARE_POLL_S = 0.2
_Method = TypeVar("_Method", bound=Callable[..., object])


def _control(method: _Method) -> _Method:
    """Let a method answer while a block runs."""
    marked: _Method = ray.method(concurrency_group="control")(method)
    return marked


class _Actor:
    """The Ray side of a replica: work in one thread, control in another."""

    def __init__(self, plan: ReplicaPlan) -> None:
        self._plan = plan
        self._replica = Replica(plan)
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
    def done(self) -> int:
        return self._replica.done

    @_control
    def stop(self) -> None:
        self._replica.stop_asked = True


@dataclass
class _Member:
    """One actor of the pool, and what it is busy with."""

    handle: Any
    item: WorkItem | None = None
    reference: Any = None
    progress: Any = None
    done: int = 0
    loads: int = 0


@dataclass(frozen=True)
class PoolSettings:
    """How large the pool is and what each actor owns.

    Attributes:
        n_actors: Number of actors.
        gpus: GPUs an actor; fractions share one.
        cpus: CPUs an actor.
        options: Further options of the actors, as for ``ray.remote``.
        address: A running cluster; None starts a private one on this machine.
    """

    n_actors: int
    gpus: float
    cpus: float
    address: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class RayExecutor:
    """See :class:`orchestrator.executors.protocol.Executor`.

    A lost actor is replaced by a fresh one; Ray itself restarts and retries nothing, so that
    every try at a block is one that the scheduler decided on.
    """

    def __init__(self, plan: ReplicaPlan, settings: PoolSettings) -> None:
        """Take what replicas will need; nothing starts yet."""
        self._plan = plan
        self._settings = settings
        self._members: list[_Member] = []
        self._loads_of_the_gone = 0
        self._progress_at = 0.0
        self._started_ray = False
        self._stop_wanted = False

    def start(self) -> None:
        """Start Ray, unless it runs already, and the actors."""
        settings = self._settings
        if not ray.is_initialized():
            private = settings.address is None
            resources: dict[str, Any] = {"address": settings.address}
            if private:
                cores = max(os.cpu_count() or 1, math.ceil(settings.n_actors * settings.cpus))
                resources = {"address": "local", "num_cpus": cores, "include_dashboard": False}
            start_ray(**resources)
            self._started_ray = True
        self._members = [self._new_member() for _ in range(settings.n_actors)]

    def prepare(self, params: Params, progress: PrepareProgress) -> None:
        """Let the first actor build; the others start meanwhile.

        Raises:
            WorkerLostError: If the actor died.
        """
        member = self._members[0]
        reference = member.handle.prepare.remote(params)
        try:
            while not ray.wait([reference], timeout=_PREPARE_POLL_S)[0]:
                with contextlib.suppress(ray.exceptions.GetTimeoutError):
                    progress(*ray.get(member.handle.preparing.remote(), timeout=1))
            ray.get(reference)
        except RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except RayError as error:
            raise WorkerLostError(f"the replica died while it prepared: {error}") from error

    @property
    def free(self) -> int:
        """Actors without an item."""
        return sum(member.item is None for member in self._members)

    def launch(self, item: WorkItem) -> None:
        """Give the item to an actor that has none; the longest warm first."""
        member = next(member for member in self._members if member.item is None)
        member.item, member.done = item, 0
        member.reference = member.handle.run.remote(item)

    def poll(self, timeout_s: float) -> list[Event]:
        """Collect finished items; replace actors that are gone."""
        if self._stop_wanted:
            self._stop_wanted = False
            for member in self._members:
                member.handle.stop.remote()
        busy = [member for member in self._members if member.item is not None]
        if not busy:
            time.sleep(timeout_s)  # whoever polls has nothing to do before then either
            return []
        references = [member.reference for member in busy]
        ready = set(ray.wait(references, num_returns=1, timeout=timeout_s)[0])
        ready |= set(ray.wait(references, num_returns=len(references), timeout=0)[0])
        return [self._collect(member) for member in busy if member.reference in ready]

    def progress(self) -> Mapping[str, int]:
        """What the actors last said; each is asked once a second, and never waited for."""
        busy = [member for member in self._members if member.item is not None]
        for member in busy:
            if member.progress is not None and ray.wait([member.progress], timeout=0)[0]:
                with contextlib.suppress(RayError):
                    member.done = ray.get(member.progress)
                member.progress = None
        if time.monotonic() >= self._progress_at:
            self._progress_at = time.monotonic() + _PROGRESS_EVERY_S
            for member in busy:
                if member.progress is None:
                    member.progress = member.handle.done.remote()
        return {member.item.block_id: member.done for member in busy if member.item}

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
        if self._started_ray:
            ray.shutdown()
            self._started_ray = False

    @property
    def n_actors(self) -> int:
        """As the settings say."""
        return self._settings.n_actors

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
            reason = str(error).strip().splitlines()[0]
            event = Lost(item.block_id, item.attempt, f"{type(error).__name__}: {reason}")
        if isinstance(event, Lost):
            self._replace(member)
        return event  # type: ignore[no-any-return]

    def _replace(self, member: _Member) -> None:
        self._loads_of_the_gone += member.loads
        with contextlib.suppress(RayError):
            ray.kill(member.handle)
        fresh = self._new_member()
        member.handle, member.loads = fresh.handle, 0

    def _new_member(self) -> _Member:
        actor = ray.remote(concurrency_groups={"control": 1})(_Actor).options(
            num_cpus=self._settings.cpus,
            num_gpus=self._settings.gpus,
            max_restarts=0,
            max_task_retries=0,
            **self._settings.options,
        )
        return _Member(actor.remote(self._plan))
