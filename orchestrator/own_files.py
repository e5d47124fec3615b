"""Files of a home are its own: what looks like one may be a link to somebody's else."""

from pathlib import Path

from orchestrator.errors import InputError, Problem


def own_file(path: Path) -> Path:
    """Return a path that is about to be written, if the file there is no link.

    Folders may be links: people keep caches and ledgers on other disks.

    Raises:
        InputError: If it is a link, whether it leads anywhere or not.
    """
    if path.is_symlink():
        found = f"is a link to {path.readlink()}, which would be written to"
        wanted = "a file of its own: remove the link"
        raise InputError(str(path), [Problem("", None, found, wanted)], "Nothing was written.")
    return path
