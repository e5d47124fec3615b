import pytest

from orchestrator.placement import Node, Placement, described
from orchestrator.spec import ResourcesSpec

GIB = 2**30
GPU_NODE = Node(
    "10.0.0.2",
    {"CPU": 16.0, "GPU": 4.0, "memory": 64.0 * GIB, "a100": 4.0, "node:10.0.0.2": 1.0},
    {"zone": "b", "ray.io/node-id": "4fbb"},
)
HEAD = Node("10.0.0.1", {"CPU": 2.0, "memory": 8.0 * GIB})


@pytest.mark.parametrize(
    ("demand", "fitting"),
    [
        ({"cpus": 1}, 16),
        ({"cpus": 5}, 3),
        ({"cpus": 0.1}, 160),
        ({"cpus": 17}, 0),
        ({"gpus": 1}, 4),
        ({"gpus": 2}, 2),
        ({"gpus": 3}, 1),
        ({"gpus": 0.5}, 8),
        ({"gpus": 0.4}, 8),  # two on each of four; 4 / 0.4 would be ten
        ({"gpus": 1, "cpus": 8}, 2),
        ({"memory_gib": 16}, 4),
        ({"memory_gib": 64.5}, 0),
        ({"custom": {"a100": 2.0}}, 2),
        ({"custom": {"h100": 1.0}}, 0),
    ],
)
def test_a_node_holds_as_many_as_its_scarcest_resource_allows(demand, fitting):
    assert Placement(**{"gpus": 0, "cpus": 1, **demand}).fitting(GPU_NODE) == fitting


@pytest.mark.parametrize(
    ("selector", "there", "not_there"),
    [
        ("b", True, False),
        ("c", False, False),
        ("!b", False, True),
        ("in(a,b)", True, False),
        ("!in(a,b)", False, True),
        ("in(a,c)", False, False),
    ],
)
def test_labels_choose_nodes_as_ray_does(selector, there, not_there):
    placement = Placement(gpus=0, cpus=1, labels={"zone": selector})
    assert [placement.fitting(node) > 0 for node in (GPU_NODE, HEAD)] == [there, not_there]


def test_the_options_of_an_actor_name_what_the_study_asks_for_and_nothing_else():
    assert Placement(gpus=1, cpus=2).further_options == {}
    resources = ResourcesSpec(
        memory_gib=1.5, custom={"a100": 1}, labels={"zone": "in(a, b)"}, strategy="spread"
    )
    assert Placement.of(resources, gpus_around=False).further_options == {
        "memory": 1_610_612_736,
        "resources": {"a100": 1.0},
        "label_selector": {"zone": "in(a,b)"},
        "scheduling_strategy": "SPREAD",
    }


def test_gpus_default_to_one_where_there_are_any():
    for resources, around, gpus in [({}, True, 1), ({}, False, 0), ({"gpus": 0.0}, True, 0)]:
        assert Placement.of(ResourcesSpec(**resources), gpus_around=around).gpus == gpus


def test_nodes_that_are_alike_are_described_together():
    twin = Node("10.0.0.3", GPU_NODE.resources | {"node:10.0.0.2": 0.0}, GPU_NODE.labels)
    assert described([HEAD, GPU_NODE, twin]) == (
        "2 x CPU 16, GPU 4, a100 4, memory 64.0 GiB, zone=b\n1 x CPU 2, memory 8.0 GiB"
    )
    assert described([]) == "no nodes"
    kinds = [Node(str(n), {"CPU": float(n)}) for n in range(1, 12)]
    assert described(kinds).endswith("\nand 3 more")


def test_a_demand_is_said_in_the_same_words():
    placement = Placement(
        gpus=0.5, cpus=2, memory_gib=1.5, custom={"a100": 1.0}, labels={"zone": "!b"}
    )
    assert str(placement) == "GPU 0.5, CPU 2, memory 1.5 GiB, a100 1, zone=!b"
