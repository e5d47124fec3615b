"""A Ray cluster of processes on this machine."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

IN_MID_BLOCK = "ledger/work/*/state-0000000[1-4].bin"  # of six edits, with a state after each
_BINARIES = Path(sys.executable).parent


def environment(**changes):
    """Of processes that find this project, and no other Ray's address."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    found["PATH"] = os.pathsep.join([str(_BINARIES), found["PATH"]])
    found["PYTHONPATH"] = str(Path(__file__).parents[2])
    return {**found, "RAY_USAGE_STATS_ENABLED": "0", **changes}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(is_met, what: str, timeout_s: float = 120.0) -> None:
    end = time.monotonic() + timeout_s
    while not is_met():
        assert time.monotonic() < end, f"not in {timeout_s} s: {what}"
        time.sleep(0.05)


def end_with_children(process) -> None:
    """SIGKILL a process and all that it started, by their ids."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        for one in [*parent.children(recursive=True), parent]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def ray_head(**variables):
    """A head with a dashboard on 127.0.0.1 that wants a token.

    Yields:
        The dashboard's address, and the environment of processes that know the token.
    """
    folder = tempfile.mkdtemp(prefix="mpn-ray-", dir="/tmp")  # paths of sockets are short
    variables = environment(
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=secrets.token_hex(32),
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # listens on 127.0.0.1 only
        **variables,
    )
    port, dashboard = free_port(), free_port()
    head = subprocess.Popen(
        [
            *("ray", "start", "--head", "--block", f"--port={port}", "--num-cpus=2"),
            *("--include-dashboard=true", f"--dashboard-port={dashboard}"),
            *("--dashboard-agent-listen-port=0", f"--temp-dir={folder}", "--disable-usage-stats"),
        ],
        env=variables,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: listens(dashboard), "a dashboard")
        yield f"http://127.0.0.1:{dashboard}", variables
    finally:
        end_with_children(head)
        shutil.rmtree(folder, ignore_errors=True)
