"""A Ray of one's own whose servers can be reached from this machine only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ray._private import ray_constants

_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


@contextmanager
def on_loopback() -> Iterator[None]:
    """Let a Ray that is started within listen on 127.0.0.1, with all of its processes.

    Ray does so by itself where it knows no clusters (macOS, Windows), and elsewhere listens on
    every interface. Its argument for an address does not help: 127.0.0.1 is replaced there.
    """
    before, knows_clusters = os.environ.get(_VARIABLE), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[_VARIABLE] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = knows_clusters
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
