"""Room for a new file: least recently used ones go, until the limit and the disk allow it."""

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from mpn.errors import MpnInputError

FINAL, PARTIAL, JOURNAL, LOCK = ".safetensors", ".partial", ".journal", ".lock"
_RESERVE = 2**28  # bytes that are left free on the disk, for everybody else
_FULL = (errno.ENOSPC, errno.EDQUOT)


def reserve(folder: Path, address: str, *, n_bytes: int, limit: int, what: str) -> Path:
    """Make room for a file, and make it: of its full size, but empty, or as it was left.

    What other processes read or write at the moment is never dropped, so the limit may be
    passed while several write; those that have a dropped file mapped keep it.

    Args:
        folder: The cache's folder.
        address: Name of the file; the caller holds its lock.
        n_bytes: Its full size.
        limit: Bytes that all files together may have.
        what: What it holds, in words, for errors.

    Returns:
        The unfinished file's path.

    Raises:
        MpnInputError: If the file alone exceeds the limit, or if the disk would be full
            even without the other files. Nothing is dropped then.
    """
    if n_bytes > limit:
        raise MpnInputError(
            str(folder),
            f"{what} need {_gib(n_bytes)}, and the cache may have {_gib(limit)}",
            "raise `resources.cache_gib`, use fewer texts, or write `query_storage: float16`",
        )
    path = folder / f"{address}{PARTIAL}"
    with FileLock(folder / f"room{LOCK}"):
        others = [other for other in _by_last_use(folder) if other.stem != address]
        missing = n_bytes - (_allocated(path) if path.exists() else 0)
        to_gain = sum(max(_size(other), _allocated(other)) for other in others)
        if _free(folder, others) + to_gain < missing:
            raise disk_error(folder, what, missing)
        for other in others:
            total = n_bytes + sum(_size(rest) for rest in others)
            if total <= limit and _free(folder, others) >= missing:
                break
            _drop(other)
        if _free(folder, others) < missing:
            raise disk_error(folder, what, missing)
        with full_disk_is_said(folder, what, missing), path.open("ab") as file:
            file.truncate(n_bytes)
    return path


@contextlib.contextmanager
def full_disk_is_said(folder: Path, what: str, n_bytes: int) -> Iterator[None]:
    """Within the context, an error of the system for lack of space becomes a clear one.

    Raises:
        MpnInputError: If the disk, or the user's share of it, is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise disk_error(folder, what, n_bytes) from error


def disk_error(folder: Path, what: str, n_bytes: int) -> MpnInputError:
    """Say that a disk has too little space for ``n_bytes`` more."""
    free = shutil.disk_usage(folder).free
    return MpnInputError(
        str(folder),
        f"{what} need {_gib(n_bytes)}, and this disk has {_gib(free)} free, of which "
        f"{_gib(_RESERVE)} stay in reserve",
        "free space on it (what is written so far is continued), keep the cache on another disk, "
        "use fewer texts, or write `query_storage: float16`",
    )


def _by_last_use(folder: Path) -> list[Path]:
    """Return all files, finished or not, the least recently used first."""
    dated = []
    for path in folder.iterdir():
        if path.suffix in (FINAL, PARTIAL):
            with contextlib.suppress(FileNotFoundError):  # just renamed
                dated.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(dated)]


def _drop(path: Path) -> None:
    """Remove a file and its journal, unless somebody is busy with it."""
    try:
        with FileLock(path.with_suffix(LOCK), blocking=False):
            path.unlink(missing_ok=True)
            path.with_suffix(JOURNAL).unlink(missing_ok=True)
    except Timeout:
        pass


def _free(folder: Path, others: list[Path]) -> int:
    """Return the bytes that may be used: neither reserved, nor awaited by unfinished files."""
    awaited = sum(max(0, _size(o) - _allocated(o)) for o in others if o.suffix == PARTIAL)
    return shutil.disk_usage(folder).free - _RESERVE - awaited


def _size(path: Path) -> int:
    """Return a file's size; 0 once it is gone."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _allocated(path: Path) -> int:
    """Return what a file takes of the disk; an unfinished one has holes. 0 once it is gone."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_blocks * 512
    return 0


def _gib(n_bytes: int) -> str:
    """Write a size."""
    gib = n_bytes / 2**30
    return f"{gib:.1f} GiB" if gib >= 1 else f"{gib:.2g} GiB"
