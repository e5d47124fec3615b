"""A headless Chromium, a home with a small real study, and the MLflow UI over it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.picture import headless_chromium
from orchestrator.ledger import Ledger
from orchestrator.results import StudyResults

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported

MPN = [sys.executable, "-c", "from studies.cli import main; main()"]
SMALL = {
    "base.streams.count": 2,
    "base.streams.edits": 2,
    "base.editor.optimizer.max_steps": 20,
}
SERVER_START_S = 120


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chrome"]:
    """Chromium with a profile of its own."""
    try:
        chrome = headless_chromium(tmp_path_factory.mktemp("profile"), (1500, 1100))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    try:
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture(scope="session")
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart, cut down and run for real; or ``$MPN_PICTURES_OF``, where it ran whole."""
    if "MPN_PICTURES_OF" in os.environ:
        return Path(os.environ["MPN_PICTURES_OF"]).resolve()
    place = tmp_path_factory.mktemp("home")
    shutil.copytree(request.getfixturevalue("mini_models"), place / "cache" / "models")
    overrides = [part for path, n in SMALL.items() for part in ("--set", f"{path}={n}")]
    subprocess.run(
        [*MPN, "run", "quickstart", "--home", str(place), "--executor", "inline", *overrides],
        check=True,
        timeout=570,
    )
    return place


@pytest.fixture(scope="session")
def results(home: Path) -> StudyResults:
    """What that study found."""
    found = StudyResults.load(Ledger(str(home / "ledger")), "quickstart")
    assert found is not None
    return found


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures of the pages go: ``$MPN_PICTURES``, or nowhere that lasts."""
    return Path(os.environ.get("MPN_PICTURES", tmp_path))


@pytest.fixture(scope="session")
def mlflow_ui(home: Path) -> Iterator[str]:
    """Address of the MLflow UI."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [*MPN, "ui", "--home", str(home), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/health", server)
        yield address
    finally:
        _end_group(server)


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + SERVER_START_S
    while time.monotonic() < until:
        assert server.poll() is None, f"the server ended with {server.returncode}"
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"{address} does not answer after {SERVER_START_S} s")


def _end_group(server: subprocess.Popen[bytes]) -> None:
    """End the server and its workers."""
    try:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=15)
    except subprocess.TimeoutExpired:
        pass
    finally:
        try:
            os.killpg(server.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        server.wait(timeout=15)
