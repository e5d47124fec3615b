"""Joining a running Ray cluster, after a look at whether a study fits on it."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import RayError

from orchestrator.errors import InputError, Problem
from orchestrator.executors.ray_starting import start_ray
from orchestrator.placement import Node, Placement, described

_PROBE_S = 5.0
_LOOK_EVERY_S = 1.0
_NOTHING = "Nothing was launched. "
_ADDRESSES = "auto for the cluster of this machine, or host:port of the head, 10.0.0.1:6379, say"
Clock = Callable[[], float]


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Join a cluster for as long as the context lasts.

    Args:
        address: ``auto`` or ``host:port``; this machine has to be one of the cluster's nodes.

    Raises:
        InputError: If the address is of another kind, or no cluster can be joined there.
    """
    _check(address)
    try:
        start_ray(address=address)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        reason = str(error).strip().splitlines()[0]
        raise _unreachable(address, f"cannot be joined ({reason})") from error
    try:
        yield
    finally:
        ray.shutdown()


def nodes() -> list[Node]:
    """Return the nodes that are alive in the cluster that was joined, by their addresses."""
    alive = [
        Node(node["NodeManagerAddress"], node["Resources"], node["Labels"])
        for node in ray.nodes()
        if node["Alive"]
    ]
    return sorted(alive, key=lambda node: node.name)


def capacity(placement: Placement) -> int:
    """How many actors the cluster that was joined can hold when nothing else runs on it."""
    return sum(map(placement.fitting, nodes()))


def await_room(
    address: str,
    place: Callable[[list[Node]], Placement],
    *,
    actors: int = 1,
    wait_s: float = 0.0,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Placement, int]:
    """Find out how many actors fit on the cluster that was joined; nodes may yet be starting.

    Args:
        address: How the user calls the cluster.
        place: Says what an actor needs, given the nodes.
        actors: So many are awaited.
        wait_s: How long.
        clock: Returns seconds.
        sleep: Waits for so many seconds.

    Returns:
        What an actor needs, and how many fit; fewer than ``actors`` if the wait was over.

    Raises:
        InputError: If then not a single one fits.
    """
    end = clock() + wait_s
    while True:
        there = nodes()
        placement = place(there)
        room = sum(map(placement.fitting, there))
        if room >= actors or clock() >= end:
            break
        sleep(_LOOK_EVERY_S)
    if room == 0:
        raise InputError(
            f"cluster {address}",
            [
                Problem(
                    "resources",
                    None,
                    f"no node fits one actor, which needs {placement}",
                    f"the cluster has:\n{described(there)}",
                )
            ],
            f"{_NOTHING}Ask for less with --set resources..., or give nodes that are still "
            "starting time with --wait SECONDS.",
        )
    return placement, room


def _check(address: str) -> None:
    """Refuse what is no address of a cluster, and one where nobody listens.

    Raises:
        InputError: Then.
    """
    if address == "auto":
        return
    if "://" in address:
        is_dashboard = address.startswith("http")
        what = "a dashboard" if is_dashboard else "Ray Client, which is not supported"
        wanted = "submit the study there: mpn submit STUDY --address ..." if is_dashboard else (
            f"run on a node of the cluster with {_ADDRESSES}; or submit the study: mpn submit"
        )  # fmt: skip
        raise _refused(address, f"that is the address of {what}", wanted)
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 2**16):
        raise _refused(address, "not an address of a cluster", _ADDRESSES)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_S).close()
    except OSError as error:
        raise _unreachable(address, f"nobody listens there ({error.strerror or error})") from error


def _unreachable(address: str, found: str) -> InputError:
    return _refused(
        address,
        found,
        f"start one with ray start --head, or give {_ADDRESSES}; this machine has to be one of "
        "its nodes (mpn submit works from elsewhere)",
    )


def _refused(address: str, found: str, wanted: str) -> InputError:
    problem = Problem("--address", None, f"{address!r}: {found}", wanted)
    return InputError("the command", [problem], f"{_NOTHING}See docs/cluster.md.")
