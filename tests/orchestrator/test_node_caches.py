"""Replicas that may be on another machine than the driver, with caches of their own."""

from dataclasses import replace

import pytest
from sweep_lab import Lab, study
from toy_objective import ToyObjective, toy_params

from orchestrator.errors import InputError
from orchestrator.executors.inline import InlineExecutor
from orchestrator.executors.nodes import on_this_node, provide
from orchestrator.executors.protocol import WorkItem
from orchestrator.identity import block_id
from orchestrator.objective import Site

STREAMS = (0,)


@pytest.fixture
def site(tmp_path):
    """A node with a cache of its own; the driver's is the origin."""
    return Site(tmp_path / "node", "cpu", 1, origin=tmp_path / "home")


def item_of(params, identity):
    return WorkItem(block_id("toy", identity, STREAMS), 0, params, STREAMS, 1)


def meant(params):
    """The block as the driver named it, once everything was built."""
    return item_of(params, ToyObjective().identity({**params, "needs": None}, None) | {
        "needs": params["needs"]
    })  # fmt: skip


def test_a_node_may_have_a_cache_of_its_own(tmp_path):
    home = Site(tmp_path / "home", "cpu", 1)
    own = on_this_node(home, {"MPN_CACHE": str(tmp_path / "node")})
    assert own == replace(home, cache=tmp_path / "node", origin=tmp_path / "home")
    for environment in ({}, {"MPN_CACHE": ""}, {"MPN_CACHE": str(home.cache)}):
        assert on_this_node(home, environment) is home


def test_a_node_keeps_the_origin_that_the_driver_gave(site, tmp_path):
    assert on_this_node(site, {"MPN_CACHE": "/other"}).origin == tmp_path / "home"


def test_what_a_node_lacks_is_built_before_a_block_runs_there(site):
    params = toy_params(needs="model")
    provide(ToyObjective(), meant(params), site)
    assert (site.cache / "model").read_text() == "built"


def test_other_models_or_data_than_the_drivers_are_the_users_to_mend(site):
    params = toy_params(needs="model")
    other = item_of(params, {"model": "another"})
    with pytest.raises(InputError, match="are not those that the driver found"):
        provide(ToyObjective(), other, site)


def test_where_the_driver_is_nothing_is_built_or_compared(site):
    here = replace(site, origin=None)
    provide(ToyObjective(), item_of(toy_params(needs="model"), {}), here)
    assert not here.cache.exists()


def test_a_study_runs_with_a_cache_of_the_nodes_own_to_the_same_bytes(tmp_path, monkeypatch):
    spec = study(base={"needs": "model"})
    plain, apart = Lab(tmp_path / "plain"), Lab(tmp_path / "apart")
    plain.run(spec)
    monkeypatch.setenv("MPN_CACHE", str(tmp_path / "node"))
    site = Site(apart.home.cache, "cpu", 1)
    params = toy_params(needs="model")
    ToyObjective().prepare(params, site, lambda *progress: None)  # the driver, for itself
    assert apart.run(spec).state == "done"
    assert (tmp_path / "node" / "model").exists()
    assert apart.result_files() == plain.result_files()


def test_resources_change_no_block(tmp_path):
    lab = Lab(tmp_path)
    lab.run(study())
    assert lab.units
    everything = {
        "gpus": 0.0,
        "cpus": 2.0,
        "memory_gib": 4,
        "custom": {"a100": 1},
        "labels": {"zone": "b"},
        "strategy": "spread",
        "cache": "/scratch",
    }
    report = lab.run(study(resources=everything), make=InlineExecutor)
    assert (lab.units, report.last_run.blocks_reused) == ([], 2)
