"""Which files a path stands for, and what their names tell."""

import re
from collections.abc import Sequence
from pathlib import Path

from mpn.data.reading import bare_name
from mpn.errors import MpnInputError
from mpn.languages import is_language

SPLITS = ("train", "dev", "validation", "valid", "val", "test")
"""Words that name a part of a data set."""


def find_files(path: str, split: str) -> tuple[Path, ...]:
    """Return the files that a path stands for, sorted.

    Args:
        path: A file, a pattern with ``*``, or a folder. Of a folder only the files count whose
            name has ``split`` as a word (``claims.test.sw.jsonl``); all, if none names a split.
        split: See above.

    Raises:
        MpnInputError: If there are none.
    """
    if Path(path).is_file():
        return (Path(path),)
    if not Path(path).is_dir():
        pattern = Path(path)
        below = Path(pattern.anchor or ".")
        names = below.glob(str(pattern.relative_to(pattern.anchor)))
        found = tuple(sorted(name for name in names if name.is_file()))
        if not found:
            raise MpnInputError(
                "dataset.path", f"{path} is not there", "give a file, a folder or a pattern with *"
            )
        return found
    found = tuple(
        sorted(f for f in Path(path).glob("[!.]*") if f.is_file() and bare_name(f) is not None)
    )
    chosen = tuple(file for file in found if split in _words(file))
    named = {word for file in found for word in _words(file) if word in SPLITS}
    if chosen or not named:
        if not found:
            raise MpnInputError(
                "dataset.path", f"{path} has no files of data", "give JSONL, CSV, TSV or Parquet"
            )
        return chosen or found
    raise MpnInputError(
        "dataset.split", f"{path} has no file of {split}", f"it has {', '.join(sorted(named))}"
    )


def language_of(path: Path) -> str | None:
    """Return the language at the end of a file's name (``test.sw.jsonl.gz``), if there is one."""
    tag = (bare_name(path) or "").rsplit(".", 1)[-1]
    return tag if is_language(tag) and tag not in SPLITS else None


def languages_of(paths: Sequence[Path]) -> tuple[str, ...] | None:
    """Return the languages that the names of several files tell apart, sorted, or ``None``."""
    tags = {language_of(path) for path in paths}
    return None if None in tags or len(tags) < 2 else tuple(sorted(tag for tag in tags if tag))


def _words(path: Path) -> set[str]:
    return set(re.split(r"[._-]", bare_name(path) or ""))


def by_name(found: Sequence[Path], languages: Sequence[str]) -> dict[str, Path]:
    """Return files by their names: those of some languages, where names tell the language."""
    told_apart = languages_of(found) is not None
    return {f.name: f for f in found if not told_apart or language_of(f) in languages}
