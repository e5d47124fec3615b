"""What is said of an address, and of a cluster that is too small; without Ray."""

import socket

import pytest

from orchestrator import cluster
from orchestrator.cluster import await_room, joined
from orchestrator.errors import InputError
from orchestrator.placement import Node, Placement

SMALL = Node("10.0.0.1", {"CPU": 2.0})
LARGE = Node("10.0.0.2", {"CPU": 8.0, "GPU": 2.0})


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ray://10.0.0.1:10001", "Ray Client, which is not supported"),
        ("http://127.0.0.1:8265", "submit the study there: mpn submit STUDY --address"),
        ("10.0.0.1", "not an address of a cluster"),
        (":6379", "not an address of a cluster"),
        ("head:port", "not an address of a cluster"),
        ("head:0", "not an address of a cluster"),
        ("head:65536", "not an address of a cluster"),
        ("", "not an address of a cluster"),
    ],
)
def test_an_address_of_another_kind_is_refused(address, said):
    with pytest.raises(InputError) as refused, joined(address):
        pass
    assert said in str(refused.value)
    assert "Nothing was launched. See docs/cluster.md." in str(refused.value)


def test_a_port_where_nobody_listens_is_found_out_at_once():
    with socket.socket() as taken:  # bound, and not listening: nobody else gets it
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InputError, match="nobody listens there") as refused, joined(address):
            pass
    assert address in str(refused.value)


class Cluster:
    """Nodes that appear one after another, a second apart."""

    def __init__(self, monkeypatch, *appearances):
        self.seconds, self._appearances = 0.0, appearances
        monkeypatch.setattr(cluster, "nodes", self._nodes)

    def _nodes(self):
        return list(self._appearances[min(int(self.seconds), len(self._appearances) - 1)])

    def sleep(self, seconds):
        self.seconds += seconds

    def room(self, cpus, **options):
        return await_room(
            "head:6379",
            lambda nodes: Placement(gpus=0, cpus=cpus),
            clock=lambda: self.seconds,
            sleep=self.sleep,
            **options,
        )


def test_the_room_of_all_nodes_is_added_up(monkeypatch):
    assert Cluster(monkeypatch, [SMALL, LARGE]).room(cpus=2)[1] == 5


def test_a_cluster_without_a_node_that_fits_is_refused_with_what_it_has(monkeypatch):
    there = Cluster(monkeypatch, [SMALL, LARGE])
    with pytest.raises(InputError) as refused:
        there.room(cpus=9)
    assert str(refused.value) == (
        "1 problem in cluster head:6379\n"
        "\n"
        "  resources: no node fits one actor, which needs CPU 9\n"
        "  the cluster has:\n"
        "  1 x CPU 2\n"
        "  1 x CPU 8, GPU 2\n"
        "\n"
        "Nothing was launched. Ask for less with --set resources..., or give nodes that are still "
        "starting time with --wait SECONDS."
    )
    assert there.seconds == 0.0


def test_nodes_that_are_starting_are_waited_for_and_no_longer_than_needed(monkeypatch):
    there = Cluster(monkeypatch, [SMALL], [SMALL, LARGE])
    assert there.room(cpus=8, wait_s=60)[1] == 1
    assert there.seconds == 1.0


def test_after_the_wait_fewer_actors_than_were_wished_for_will_do(monkeypatch):
    there = Cluster(monkeypatch, [SMALL])
    assert there.room(cpus=1, actors=3, wait_s=2.0)[1] == 2
    assert there.seconds == 2.0
