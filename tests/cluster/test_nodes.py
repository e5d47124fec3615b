"""Nodes of a cluster that go and come while blocks run on them."""

import os
import time
from functools import partial
from pathlib import Path

import pytest
import ray
import toy_objective
from ray.cluster_utils import Cluster
from toy_objective import ToyObjective, toy_params

from orchestrator.cluster import capacity
from orchestrator.executors.protocol import Finished, Lost, WorkItem
from orchestrator.executors.ray_pool import PoolSettings, RayExecutor
from orchestrator.executors.replica import ReplicaPlan
from orchestrator.ledger import Ledger
from orchestrator.objective import Site
from orchestrator.placement import Placement

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(300)]

_PATIENCE_S = 120


@pytest.fixture
def cluster(monkeypatch):
    folders = [str(Path(toy_objective.__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def pool(cluster, tmp_path):
    """Two actors, a GPU each, on two nodes; up to four, as nodes join."""
    nodes = [cluster.add_node(num_cpus=1, num_gpus=1) for _ in range(2)]
    ledger = Ledger(str(tmp_path / "ledger"))
    plan = ReplicaPlan(ToyObjective(), ledger.uri, Site(tmp_path / "cache", "cpu", 1), 0.0)
    room = partial(capacity, Placement(1, 1))
    settings = PoolSettings(2, gpus=1, cpus=1, address=cluster.address, room=room, most=4)
    executor = RayExecutor(plan, settings)
    executor.start()
    yield executor, ledger, nodes
    executor.close()


def item(number, attempt=1, **changes):
    params = toy_params(**{"seed": number, "units": 400, "wait_ms": 10, **changes})
    return WorkItem(f"{number:064d}", number, params, (0,), attempt)


def until(executor, is_met):
    """Poll until a condition holds; return the events on the way."""
    events, deadline = [], time.monotonic() + _PATIENCE_S
    while not is_met(events):
        assert time.monotonic() < deadline, events
        events += executor.poll(0.1)
    return events


def test_the_pool_shrinks_and_grows_with_the_cluster(cluster, pool):
    executor, ledger, nodes = pool
    until(executor, lambda events: executor.free == 2)
    assert capacity(Placement(1, 1)) == 2
    items = [item(1), item(2)]
    for one in items:
        executor.launch(one)
    until(executor, lambda events: min(ledger.position(one.block_id) for one in items) > 0)

    cluster.remove_node(nodes[0], allow_graceful=False)
    [lost, finished] = until(executor, lambda events: len(events) == 2)
    assert isinstance(lost, Lost), "the node's block is lost, and the other one goes on"
    assert lost.fault == "worker" and lost.position > 0
    assert isinstance(finished, Finished)
    until(executor, lambda events: executor.free == 1)
    assert executor.n_actors == 2  # one of them waits for room

    number = int(lost.block_id)
    executor.launch(item(number, 2, wait_ms=0))
    assert until(executor, lambda events: events) == [Finished(lost.block_id, 2)]
    assert ledger.attempt(lost.block_id)["units"] <= 400 - lost.position

    cluster.add_node(num_cpus=1, num_gpus=1)
    until(executor, lambda events: executor.free == 2)
    cluster.add_node(num_cpus=2, num_gpus=2)
    until(executor, lambda events: executor.free == 4)
    cluster.add_node(num_cpus=1, num_gpus=1)
    time.sleep(6)  # as many as are wanted are there
    executor.poll(0)
    assert executor.n_actors == 4
