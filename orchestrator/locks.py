"""One driver a study: a lock in its home."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from orchestrator.errors import StudyBusyError
from orchestrator.home import Home


@contextmanager
def only_driver(study: str, home: Home) -> Iterator[None]:
    """Hold a study's lock, which the system gives back whenever the process ends.

    Raises:
        StudyBusyError: If another process holds it.
    """
    locks = home.path / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(locks / f"{study}.lock", timeout=0):
            yield
    except Timeout:
        raise StudyBusyError(study, str(home.path)) from None


def is_running(study: str, home: Home) -> bool:
    """Whether a process runs the study in this home now."""
    path = home.path / "locks" / f"{study}.lock"
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
