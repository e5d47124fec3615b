"""Files under any fsspec URI: each is there whole, or as it was before."""

import os
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import fsspec

from orchestrator.redaction import conceal

T = TypeVar("T")

_SIDE_BY_SIDE = 16  # more would wait for fsspec's connections
_WITHOUT_FOLDERS = {"abfs", "az", "gcs", "gs", "oci", "oss", "r2", "s3", "s3a"}


class Store:
    """A folder, or what stands for one on an object store.

    What others write is seen at once: no listing is remembered.
    """

    def __init__(self, uri: str) -> None:
        """Open a store; nothing is contacted, and nothing made, yet.

        Args:
            uri: A folder, or any URI that fsspec knows.
        """
        self._files, root = fsspec.core.url_to_fs(conceal(uri))
        self._root = root.rstrip("/")
        protocols = _protocols(self._files)
        self._is_local = "file" in protocols
        self._has_folders = protocols.isdisjoint(_WITHOUT_FOLDERS)

    def write(self, name: str, data: bytes, *, outlasts_power: bool = True) -> None:
        """Write a file so that it is there whole, or as it was before.

        Args:
            name: Path within the store.
            data: All of it.
            outlasts_power: Whether it must be on the disk when this returns.
        """
        path = f"{self._root}/{name}"
        if self._is_local:
            _write_local(Path(path), data, outlasts_power)
            return
        try:
            self._files.pipe_file(path, data)  # an object store shows whole objects only
        except FileNotFoundError:
            if not self._has_folders:
                raise  # the bucket is not there; to make one is not for us
            self._files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            self._files.pipe_file(path, data)

    def read(self, name: str) -> bytes | None:
        """Return a file, or None if it is not there."""
        path = f"{self._root}/{name}"
        try:
            data: bytes = Path(path).read_bytes() if self._is_local else self._files.cat_file(path)
            return data
        except FileNotFoundError:
            return None

    def together(self, ask: Callable[[str], T], about: Iterable[str]) -> list[T]:
        """Ask several questions of the store, side by side where each has a way to go.

        Args:
            ask: Reads what it needs of the store; called from several threads.
            about: What to ask about.

        Returns:
            The answers, in the order of ``about``.
        """
        if self._is_local:
            return [ask(one) for one in about]
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            return list(pool.map(ask, about))

    def names(self, folder: str, prefix: str = "", suffix: str = "") -> list[str]:
        """Return the names in a folder that begin and end so, sorted; none if it is not there."""
        self._files.invalidate_cache()
        try:
            paths = self._files.ls(f"{self._root}/{folder}", detail=False, refresh=True)
        except FileNotFoundError:
            return []
        names = sorted(path.rsplit("/", 1)[-1] for path in paths)
        return [name for name in names if name.startswith(prefix) and name.endswith(suffix)]

    def check(self) -> None:
        """See that files can be written and taken away.

        Raises:
            Exception: Whatever the store's client raises; a bucket has to be there, a folder not.
        """
        name = f"check-{uuid.uuid4().hex}"
        self.write(name, b"", outlasts_power=False)
        self.remove(name)

    def remove(self, name: str) -> None:
        """Take a file away, if it is there."""
        with suppress(FileNotFoundError):
            self._files.rm_file(f"{self._root}/{name}")

    def remove_folder(self, name: str) -> None:
        """Take a folder away with everything in it, if it is there."""
        self._files.invalidate_cache()
        with suppress(FileNotFoundError):
            self._files.rm(f"{self._root}/{name}", recursive=True)


def _write_local(path: Path, data: bytes, outlasts_power: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(f"{path}.{uuid.uuid4().hex}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            if outlasts_power:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _protocols(files: Any) -> frozenset[str]:
    protocol = files.protocol
    return frozenset((protocol,) if isinstance(protocol, str) else protocol)
