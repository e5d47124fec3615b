"""Who drives what: each driver tells the ledger that it lives; others watch whether it still does.

A driver is taken for dead once its note has stood still for a lease, on the watcher's own clock,
so that clocks need not agree, and may jump. On one machine the process table tells at once.
"""

import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from orchestrator.errors import StudyBusyError
from orchestrator.ledger import Ledger
from orchestrator.outages import passing_over_outages

LEASE_S = 30.0
BEAT_EVERY_S = 2.0
_FOLDER = "sessions"
_WATCH_EVERY_S = 1.0
_RIVALS_LOOK_S = 5.0  # by when whoever has entered has looked for rivals
_LAST_BEAT_S = 5.0  # what is waited for a beat under way
_UNKNOWN = "unknown"
Role = Literal["main", "joined"]


@dataclass(frozen=True)
class Session:
    """A driver at work.

    Attributes:
        name: Its own.
        study: What it runs.
        role: ``main``: writes Optuna, MLflow and the study's memory. ``joined``: runs blocks only.
        place: Machine, boot and process namespace; equal where process numbers mean the same.
        process: Number and start of the process.
        beat: Grows as long as it lives.
    """

    name: str
    study: str
    role: Role
    place: str
    process: str
    beat: int = 0


class Roster:
    """The sessions in a ledger, as one driver sees them."""

    def __init__(
        self,
        ledger: Ledger,
        study: str,
        role: Role,
        clock: Callable[[], float],
        *,
        lease_s: float = LEASE_S,
    ) -> None:
        """Take a name; nothing is written yet.

        Args:
            ledger: Where sessions are noted.
            study: The study that this driver runs.
            role: What for.
            clock: Seconds that do not go back.
            lease_s: How long a note may stand still.
        """
        self._ledger, self._clock, self._lease_s = ledger, clock, lease_s
        self.own = Session(f"{role}-{uuid.uuid4().hex}", study, role, _place(), _process())
        self._beat = 0
        self._writing = threading.Lock()
        self._beat_at = float("-inf")
        self._watched_at = float("-inf")
        self._seen: dict[str, tuple[int, float]] = {}  # beat, and when it was new

    @contextmanager
    def listed(self) -> Iterator[None]:
        """Be on the roster, within the context, whatever else this process is busy with."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(BEAT_EVERY_S):
                with passing_over_outages("the ledger"):
                    self._write()

        self.enter()
        pulse = threading.Thread(target=beat, name="pulse", daemon=True)
        pulse.start()
        try:
            yield
        finally:
            over.set()
            pulse.join(_LAST_BEAT_S)
            with passing_over_outages("the ledger"):  # others will find out
                self.leave()

    def enter(self) -> None:
        """Tell that this driver lives."""
        self._write()

    def beat(self) -> None:
        """Tell it again, every now and then, and strike off those that do not any more."""
        if self._clock() - self._beat_at >= BEAT_EVERY_S:
            self._write()
        if self._clock() - self._watched_at >= BEAT_EVERY_S:
            self.watch()

    def leave(self) -> None:
        """Strike this driver off."""
        self._ledger.forget_note(_FOLDER, self.own.name)

    def watch(self) -> None:
        """Strike off who has not moved for a lease, or is known to have ended."""
        now_s = self._watched_at = self._clock()
        for other in self.others():
            if self._is_gone(other, now_s):
                self._ledger.forget_note(_FOLDER, other.name)

    def others(self) -> Iterator[Session]:
        """Return all other drivers, of whatever study."""
        for name, content in self._ledger.notes(_FOLDER):
            if name != self.own.name:
                try:
                    yield Session(**content)
                except TypeError:  # damaged: nobody who lives leaves it like that
                    self._ledger.forget_note(_FOLDER, name)

    def main_driver(self) -> Session | None:
        """Return who drives this study, if anybody else does."""
        return next(self._main_drivers(), None)

    def bury_main_drivers(self) -> None:
        """Strike off all other main drivers of the study: this one holds its lock."""
        for other in self._main_drivers():
            self._ledger.forget_note(_FOLDER, other.name)

    def yield_to_rivals(self, sleep: Callable[[float], None]) -> None:
        """Be the only main driver that has entered, or none: of two at once the first by name.

        Raises:
            StudyBusyError: If another one is.
        """
        rivals = [other.name for other in self._main_drivers()]
        if rivals and self.own.name < min(rivals):
            sleep(_RIVALS_LOOK_S)  # they have seen this one, too, unless they came long before
            rivals = [other.name for other in self._main_drivers()]
        if rivals:
            raise StudyBusyError(self.own.study, self._ledger.uri)

    def wait_until_alone(self, sleep: Callable[[float], None]) -> None:
        """Wait until no other main driver of this study can be alive.

        Raises:
            StudyBusyError: If one is.
        """
        self.watch()
        first = self.main_driver()
        while (other := self.main_driver()) is not None:
            if first is None or other.name != first.name or other.beat != first.beat:
                raise StudyBusyError(self.own.study, self._ledger.uri)
            sleep(_WATCH_EVERY_S)
            self.watch()

    def _main_drivers(self) -> Iterator[Session]:
        return (s for s in self.others() if s.study == self.own.study and s.role == "main")

    def _is_gone(self, other: Session, now_s: float) -> bool:
        lives = _lives(other.process) if other.place == self.own.place else None
        if lives is not None:
            return not lives
        beat, since_s = self._seen.get(other.name, (-1, now_s))
        if beat != other.beat:
            self._seen[other.name] = (other.beat, now_s)
            return False
        return now_s - since_s > self._lease_s

    def _write(self) -> None:
        with self._writing:
            self._beat += 1
            self._beat_at = self._clock()
            self._ledger.note(_FOLDER, self.own.name, {**asdict(self.own), "beat": self._beat})


@contextmanager
def present(roster: Roster, sleep: Callable[[float], None], *, is_alone: bool) -> Iterator[None]:
    """Be the main driver of a study, within the context.

    Args:
        roster: Of this driver, which holds the study's lock in its home.
        sleep: Waits for so many seconds.
        is_alone: Whether that lock is one for the ledger too, so that all other main drivers are
            known to have ended. Where several homes share a ledger it is not.

    Raises:
        StudyBusyError: If somebody does.
    """
    if is_alone:
        roster.bury_main_drivers()
    else:
        roster.wait_until_alone(sleep)
    with roster.listed():
        if not is_alone:
            roster.yield_to_rivals(sleep)
        yield


class Claims:
    """Which session works on which block, so that two drivers do not do the same work."""

    def __init__(self, ledger: Ledger, session: str) -> None:
        """Look at a ledger from a session."""
        self._ledger, self._session = ledger, session

    def claim(self, block_id: str, attempt: int) -> bool:
        """Take a block, unless a session that lives has it; return whether it is ours.

        A later attempt of the same session takes it from an earlier one.
        """
        if self._is_anothers(block_id, attempt):
            return False
        content = {"session": self._session, "attempt": attempt}
        self._ledger.note(_claim(block_id), "claim", content)
        return self.holds(block_id, attempt)

    def holds(self, block_id: str, attempt: int) -> bool:
        """Whether a block is still this attempt's."""
        return bool(self._found(block_id) == {"session": self._session, "attempt": attempt})

    def release(self, block_id: str, attempt: int) -> None:
        """Let others have a block, if it is still this attempt's.

        What an outage keeps from being let go is free once the session ends.
        """
        with passing_over_outages("the ledger"):
            if self.holds(block_id, attempt):
                self._ledger.forget_note(_claim(block_id), "claim")

    def release_all(self, block_ids: Iterable[str]) -> None:
        """Do that for all of these blocks that this session claimed, by whatever attempt."""
        with passing_over_outages("the ledger"):
            for block_id in block_ids:
                found = self._found(block_id)
                if isinstance(found, dict) and found.get("session") == self._session:
                    self._ledger.forget_note(_claim(block_id), "claim")

    def _found(self, block_id: str) -> Any:
        return self._ledger.read_note(_claim(block_id), "claim")

    def _is_anothers(self, block_id: str, attempt: int) -> bool:
        found = self._found(block_id)
        if not isinstance(found, dict) or not {"session", "attempt"} <= found.keys():
            return False
        if found["session"] == self._session:
            return bool(found["attempt"] > attempt)
        return self._ledger.read_note(_FOLDER, str(found["session"])) is not None


def _claim(block_id: str) -> str:
    return f"work/{block_id}"


def _place() -> str:
    """Name the machine since its start, and the namespace of its process numbers."""
    parts = [socket.gethostname()]
    for path in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        try:
            found = str(path.readlink()) if path.is_symlink() else path.read_text().strip()
        except OSError:
            found = ""
        parts.append(found)
    return "/".join(parts)


def _process() -> str:
    return f"{os.getpid()}@{_start_of(os.getpid())}"


def _lives(process: str) -> bool | None:
    """Whether a process of this machine is the one that it was; None where nobody can tell."""
    number, _, start = process.partition("@")
    if start == _UNKNOWN:
        return None
    return number.isdigit() and _start_of(int(number)) == start


def _start_of(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; "" if there is none (any more)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "" if Path("/proc/self").exists() else _UNKNOWN
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else rest[18]
