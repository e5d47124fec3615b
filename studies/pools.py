"""Where a study's blocks run: in this process, on actors of this machine, or on a cluster."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from orchestrator.errors import InputError, Problem
from orchestrator.executors.inline import InlineExecutor
from orchestrator.executors.nodes import CACHE_VARIABLE
from orchestrator.executors.protocol import Executor, PrepareProgress
from orchestrator.executors.replica import ReplicaPlan
from orchestrator.home import Home
from orchestrator.objective import Objective, Params, Site
from orchestrator.placement import Node, Placement, selects
from orchestrator.resources import ResourcesSpec
from orchestrator.spec import StudySpec

_ELSEWHERE = "a cluster that has it, named with --address"
ExecutorName = Literal["ray", "inline"]


@dataclass(frozen=True)
class PoolWish:
    """What the user asks of the pool.

    Attributes:
        executor: ``ray``, or ``inline`` for debugging.
        actors: Number of Ray actors; None takes the study's, or as many as fit.
        address: A running cluster; None for a private Ray on this machine.
        wait_s: How long nodes of the cluster may still be starting.
        helps: Whether another driver named the blocks, perhaps on another machine.
    """

    executor: ExecutorName
    actors: int | None = None
    address: str | None = None
    wait_s: float = 0.0
    helps: bool = False


@dataclass(frozen=True)
class Room:
    """What an actor gets, and how many actors there is room for."""

    placement: Placement
    actors: int


@contextmanager
def room_for(spec: StudySpec, wish: PoolWish) -> Iterator[Callable[[], Room]]:
    """Join the cluster that is wished for, and find out what fits on it.

    Returns:
        Says what room there is. On this machine that is looked up when something has to run.

    Raises:
        InputError: If the cluster cannot be joined, or fits not a single actor.
    """
    if wish.address is None:
        if wish.executor == "ray":
            _refuse_what_is_not_here(spec.resources)
        yield lambda: room_here(spec)
        return
    from orchestrator.cluster import await_room, joined  # imports Ray, which takes seconds

    def place(nodes: list[Node]) -> Placement:
        gpus_around = any(node.resources.get("GPU", 0) > 0 for node in nodes)
        return Placement.of(spec.resources, gpus_around=gpus_around)

    with joined(wish.address):
        actors = wish.actors or spec.resources.actors or 1
        found = Room(*await_room(wish.address, place, actors=actors, wait_s=wish.wait_s))
        yield lambda: found


def executor_maker(
    spec: StudySpec, objective: Objective, home: Home, wish: PoolWish, room: Callable[[], Room]
) -> Callable[[int, str], Executor]:
    """Return what makes the executor for so many missing blocks."""
    resources = spec.resources

    def make(n_blocks: int, session: str) -> Executor:
        there = room()
        placement = there.placement
        plan = ReplicaPlan(
            objective,
            home.ledger,
            _site(spec, home, wish, "cuda" if placement.gpus > 0 else "cpu"),
            resources.checkpoint_every_s,
            session,
            spec.study,
            home.logs.resolve(),
        )
        if wish.executor == "inline":
            return InlineExecutor(plan)
        # Ray takes seconds to import, and is not needed to say that nothing has to run.
        from orchestrator.executors.ray_pool import PoolSettings, RayExecutor

        asked = wish.actors or resources.actors
        settings = PoolSettings(
            min(asked or max(1, there.actors), n_blocks), placement.gpus, placement.cpus
        )
        if wish.address is not None:
            from orchestrator.cluster import capacity

            settings = replace(
                settings,
                address=wish.address,
                options=placement.further_options,
                room=None if asked else partial(capacity, placement),
                most=n_blocks,
            )
        return RayExecutor(plan, settings)

    return make


def own_preparation(
    spec: StudySpec, objective: Objective, home: Home, wish: PoolWish
) -> Callable[[Params, PrepareProgress], None] | None:
    """Return what prepares in the driver's cache, or None if that is the replicas', too."""
    if wish.address is None and _node_cache(spec) is None:
        return None
    site = Site(home.cache.resolve(), "cpu", spec.resources.threads, spec.resources.cache_gib)
    return lambda params, progress: objective.prepare(params, site, progress)


def n_gpus() -> int:
    """How many CUDA devices this machine has."""
    import torch  # slow to import, and needed only where something runs

    return torch.cuda.device_count()


def room_here(spec: StudySpec) -> Room:
    """Find out what an actor gets on this machine, and how many fit."""
    gpus = n_gpus()
    placement = Placement.of(spec.resources, gpus_around=gpus > 0)
    there = gpus / placement.gpus if placement.gpus else (os.cpu_count() or 1) / placement.cpus
    return Room(placement, int(there))


def _refuse_what_is_not_here(resources: ResourcesSpec) -> None:
    """Refuse actors that no private Ray on this machine could ever place."""
    problems = []
    if resources.gpus and (there := n_gpus()) < resources.gpus:
        found = f"{resources.gpus:g} GPUs an actor, and this machine has {there}"
        problems.append(Problem("resources.gpus", None, found, f"at most {there}, or {_ELSEWHERE}"))
    custom = {key: f"{amount:g}" for key, amount in resources.custom.items()}
    ours = {k: v for k, v in resources.labels.items() if not k.startswith("ray.io/")}
    labels = {key: selector for key, selector in ours.items() if not selects(selector, None)}
    for name, asked in (("custom", custom), ("labels", labels)):
        if asked:
            words = ", ".join(f"{key}: {value}" for key, value in asked.items())
            found = f"{words}, which only nodes of a cluster have"
            problems.append(Problem(f"resources.{name}", None, found, f"none, or {_ELSEWHERE}"))
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    if resources.memory_gib is not None and resources.memory_gib > memory_gib:
        found = f"{resources.memory_gib:g} GiB an actor, and this machine has {memory_gib:.1f}"
        problems.append(Problem("resources.memory_gib", None, found, f"less, or {_ELSEWHERE}"))
    if problems:
        raise InputError("the study", problems, "Nothing was launched.")


def _site(spec: StudySpec, home: Home, wish: PoolWish, device: str) -> Site:
    resources, home_cache = spec.resources, home.cache.resolve()
    cache = home_cache if resources.cache is None else Path(resources.cache)
    elsewhere = wish.address is not None or wish.helps or cache != home_cache
    return Site(
        cache, device, resources.threads, resources.cache_gib, home_cache if elsewhere else None
    )


def _node_cache(spec: StudySpec) -> str | None:
    return os.environ.get(CACHE_VARIABLE) or spec.resources.cache
