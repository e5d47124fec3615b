"""What can happen to a running study, and how it is made to happen for real."""

import contextlib
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from command_line import CommandLine, kill_group

_PATIENCE_S = 240


class SmallDisk:
    """A disk of a few MB, to be filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        self.is_there = said.returncode == 0
        self.trouble = said.stderr.strip()

    def fill(self) -> None:
        free = shutil.disk_usage(self.folder).free
        with contextlib.suppress(OSError), self._ballast.open("wb") as file:
            file.write(b"\0" * (free + 2**20))  # to the last byte

    def empty(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        if self.is_there:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"


@dataclass
class Chaos:
    """A study that runs on a cluster of this machine, and everything that befalls it.

    Attributes:
        mpn: The command line, in the study's home.
        words: What starts or continues the study.
        cluster: Of ray.cluster_utils, with some nodes.
        nodes: Those that can go.
        database: PostgreSQL with Optuna's and MLflow's tables.
        tracker: The MLflow server.
        disk: Where the home is.
        output: File of what drivers print.
        seed: Of what happens when.
        happened: How often, by kind.
        kept: Before each fault: when it was, and how far the checkpoints of running blocks were.
    """

    mpn: CommandLine
    words: tuple[object, ...]
    cluster: Any
    nodes: list[Any]
    database: Any
    tracker: Any
    disk: SmallDisk
    output: Path
    seed: int
    happened: Counter[str] = field(default_factory=Counter)
    kept: list[tuple[float, dict[str, int]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self.driver: Any = None
        self._starting: threading.Timer | None = None

    def run(self, faults: list[str]) -> None:
        """Let the faults happen one after another, and the study come to its end."""
        self.continue_it()
        for fault in faults:
            self.wait_for_progress()
            self.kept.append((time.time(), self.positions()))
            getattr(self, fault)()
            self.happened[fault] += 1
        self.end()

    def end(self) -> None:
        """Wait until the study is done; a driver that gives up is started again."""
        self._have_mlflow()
        for _ in range(3):
            code = self._wait()
            if code == 0:
                return
            self.continue_it()
        raise AssertionError(self.output.read_text())

    def continue_it(self) -> None:
        """Give the command that starts the study, or goes on with it."""
        with self.output.open("a") as file:
            self.driver = self.mpn.start(*self.words, stdout=file, stderr=file)

    def wait_for_progress(self) -> None:
        """Wait until something more is kept than before, so that every fault meets work."""
        before, deadline = self._kept_so_far(), time.monotonic() + _PATIENCE_S
        while self._kept_so_far() == before:
            if self.driver.poll() is not None:
                code = self._wait()  # done too soon, or at a loss for its stores
                happened = f"after {self.happened}"
                assert code == 1, f"{happened}, exit {code}: {self.output.read_text()}"
                self.continue_it()
            assert time.monotonic() < deadline, "nothing goes on any more"
            time.sleep(0.05)
        time.sleep(self._draw.uniform(0, 0.7))

    # -- the faults -----------------------------------------------------------------------

    def kill_actor(self) -> None:
        if actors := self._actors():
            self._send(self._draw.choice(actors), signal.SIGKILL)

    def stop_actor(self) -> None:
        if actors := self._actors():
            self._send(self._draw.choice(actors), signal.SIGSTOP)

    def lose_node(self) -> None:
        node = self.nodes.pop(self._draw.randrange(len(self.nodes)))
        self.cluster.remove_node(node, allow_graceful=False)
        time.sleep(self._draw.uniform(0, 2))
        self.nodes.append(self.cluster.add_node(num_cpus=1))

    def kill_driver(self) -> None:
        kill_group(self.driver)
        self.continue_it()

    def interrupt_driver(self) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not self._is_listed() and self.driver.poll() is None:  # it may only just begin
            assert time.monotonic() < deadline, "the driver does not enter"
            time.sleep(0.05)
        self.driver.send_signal(signal.SIGTERM)
        code = self._wait()
        assert code in (143, 0), f"exit {code}: {self.output.read_text()}"
        self.continue_it()

    def lose_mlflow(self) -> None:
        """Other faults go on meanwhile: it takes its time to start."""
        self._have_mlflow()
        self.tracker.stop()
        self._starting = threading.Timer(self._draw.uniform(1, 4), self.tracker.start)
        self._starting.start()

    def lose_database(self) -> None:
        self.database.stop()
        time.sleep(self._draw.uniform(0.5, 3))
        self.database.start()

    def fill_disk(self) -> None:
        self.disk.fill()
        time.sleep(self._draw.uniform(1, 4))
        self.disk.empty()

    def _have_mlflow(self) -> None:
        if self._starting is not None:
            self._starting.join()

    # -- looking --------------------------------------------------------------------------

    def positions(self) -> dict[str, int]:
        """How far the last checkpoint of each block under way is."""
        found: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError):
            for path in self.mpn.home.glob("ledger/work/*/state-*.bin"):
                position = int(path.stem.removeprefix("state-"))
                found[path.parent.name] = max(found.get(path.parent.name, 0), position)
        return found

    def _kept_so_far(self) -> tuple[int, int]:
        done = len(list(self.mpn.home.glob("ledger/blocks/*/*/result.json")))
        return done, sum(self.positions().values())

    def _actors(self) -> list[psutil.Process]:
        mine = []
        for process in psutil.process_iter(["cmdline"]):
            command = " ".join(process.info["cmdline"] or [])
            with contextlib.suppress(psutil.Error):
                if "ray::_Actor" in command and str(self.mpn.home) in _home_of(process):
                    mine.append(process)
        return mine

    def _send(self, process: psutil.Process, number: int) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)

    def _is_listed(self) -> bool:
        """Whether the driver has told that it lives; it can be asked to stop by then."""
        notes = [path.read_text() for path in self.mpn.home.glob("ledger/sessions/main-*.json")]
        return any(f'"process": "{self.driver.pid}@' in note for note in notes)

    def _wait(self) -> int:
        return int(self.driver.wait(timeout=_PATIENCE_S))


def _home_of(process: psutil.Process) -> str:
    return process.environ().get("MPN_CHAOS_HOME", "")


def drawn(seed: int, counts: dict[str, int]) -> list[str]:
    """Put faults into an order."""
    faults = [kind for kind, n in counts.items() for _ in range(n)]
    random.Random(seed).shuffle(faults)
    return faults
