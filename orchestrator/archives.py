"""Archives: files in one tar, of which either all are what they were, or none is taken.

The last two members are a manifest, with the checksum of every other one, and the manifest's own
checksum. Nothing is compressed: what is read is never larger than the file.
"""

import hashlib
import io
import json
import os
import tarfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

_FORMAT = "mpn-archive-1"
_MANIFEST, _SEAL = "manifest.json", "manifest.sha256"
_UNREADABLE = (tarfile.TarError, EOFError, KeyError, TypeError, ValueError, RecursionError)


class DamagedArchiveError(Exception):
    """An archive is not what was written."""


@contextmanager
def new_archive(path: Path, about: Mapping[str, object]) -> Iterator[Callable[[str, bytes], None]]:
    """Write an archive, which is there whole at the end of the context, or not at all.

    The same files make the same bytes: there are no times or owners in it.

    Args:
        path: The file; one that is there is replaced.
        about: What the archive says of itself.

    Returns:
        Adds a file: its name, which has no ``..`` in it and does not begin with ``/``, and what
        is in it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    checksums: dict[str, str] = {}
    try:
        with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:

            def add(name: str, data: bytes) -> None:
                checksums[name] = _sha256(data)
                _append(tar, name, data)

            yield add
            manifest = {"format": _FORMAT, "about": dict(about), "files": checksums}
            text = json.dumps(manifest, sort_keys=True, indent=1).encode()
            _append(tar, _MANIFEST, text)
            _append(tar, _SEAL, _sha256(text).encode())
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class Archive:
    """An archive that was found to be whole.

    Attributes:
        about: What it says of itself.
        names: Of its files, in the order in which they were added.
    """

    def __init__(self, tar: tarfile.TarFile, is_name: Callable[[str], bool]) -> None:
        """Use :func:`whole_archive`."""
        self._tar = tar
        self._members = _members(tar)
        manifest = self._manifest()
        self.about: Mapping[str, Any] = manifest["about"]
        self._checksums: Mapping[str, str] = manifest["files"]
        self.names = tuple(name for name in self._members if name not in (_MANIFEST, _SEAL))
        if set(self.names) != set(self._checksums):
            raise DamagedArchiveError("files are missing, or there are others than were written")
        for name in self.names:
            if not is_name(name):
                raise DamagedArchiveError(f"{name!r} is no name of a file that belongs here")
            self.read(name)

    def read(self, name: str) -> bytes:
        """Return a file.

        Raises:
            DamagedArchiveError: If it is not what was written.
        """
        data = self._content(name)
        if _sha256(data) != self._checksums[name]:
            raise DamagedArchiveError(f"{name} is not what was written")
        return data

    def _manifest(self) -> dict[str, Any]:
        if not {_MANIFEST, _SEAL} <= self._members.keys():
            raise DamagedArchiveError("it is cut off, or no archive of ours: it has no manifest")
        text = self._content(_MANIFEST)
        if self._content(_SEAL) != _sha256(text).encode():
            raise DamagedArchiveError("its manifest is not what was written")
        manifest: dict[str, Any] = json.loads(text)
        if manifest["format"] != _FORMAT:
            raise DamagedArchiveError(f"it is of another format, {manifest['format']!r}")
        return manifest

    def _content(self, name: str) -> bytes:
        file = self._tar.extractfile(self._members[name])
        assert file is not None  # of a regular file it is
        return file.read()


@contextmanager
def whole_archive(path: Path, is_name: Callable[[str], bool]) -> Iterator[Archive]:
    """Open an archive after all of it was checked; nothing is written anywhere.

    Args:
        path: The file.
        is_name: Whether a file of that name belongs into such an archive.

    Raises:
        DamagedArchiveError: If anything in it is not what was written, or does not belong there.
        FileNotFoundError: If there is no such file.
    """
    with ExitStack() as stack:
        try:
            archive = Archive(stack.enter_context(tarfile.open(path, "r:")), is_name)
        except _UNREADABLE as error:
            raise DamagedArchiveError(f"it is cut off, or no archive of ours ({error})") from error
        yield archive


def _members(tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    found: dict[str, tarfile.TarInfo] = {}
    for member in tar.getmembers():
        if member.type != tarfile.REGTYPE:
            raise DamagedArchiveError(f"{member.name!r} is not a plain file")
        if member.name in found:
            raise DamagedArchiveError(f"{member.name!r} is in it twice")
        found[member.name] = member
    return found


def _append(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
