"""From lines to a parallel folder: rows, their flags, and a folder that is there whole."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mpn.data.corpus import Corpus
from mpn.data.parallel_folder import CARD, FolderRow, contents, read_rows
from mpn.edits import Text
from mpn.errors import MpnInputError
from mpn.translation.checks import flags
from mpn.translation.lines import Line
from mpn.translation.settings import CheckSettings

REVIEWED = ("accepted", "corrected", "rejected")
"""Statuses that a person gave."""


def source_rows(
    corpus: Corpus, language: str, n_rows: int, lines: Iterable[Line]
) -> list[FolderRow]:
    """Return the rows of the source language, with rephrases where the corpus has none.

    Args:
        corpus: The corpus.
        language: The source language.
        n_rows: How many of its examples, from the first.
        lines: Their lines in the source language, for rephrases; or none.
    """
    found = {line.id: line.rephrases for line in lines}
    rows = []
    for example in corpus.examples[:n_rows]:
        own = tuple(example.rephrases.get(language, ()))
        machine = found.get(example.example_id, ())
        rows.append(
            FolderRow(
                id=example.example_id,
                group=example.group,
                language=language,
                label=corpus.labels[example.label],
                text=example.texts[language],
                rephrases=own or machine,
                rephrases_origin="source" if own else "machine" if machine else None,
            )
        )
    return rows


def translated_rows(
    corpus: Corpus,
    source: str,
    target: str,
    lines: Sequence[Line],
    checks: CheckSettings,
    model: str,
) -> list[FolderRow]:
    """Return the rows of a target language, checked.

    Args:
        corpus: The corpus.
        source: The source language.
        target: The target language.
        lines: One per example, in their order.
        checks: When a row is flagged.
        model: Name and version of the model.

    Raises:
        RuntimeError: If a line is missing, doubled or out of place.
    """
    examples = corpus.examples[: len(lines)]
    if [line.id for line in lines] != [example.example_id for example in examples]:
        raise RuntimeError(f"the lines in {target} are not those of the corpus")
    rows = []
    for example, line in zip(examples, lines, strict=True):
        found = flags(
            example.texts[source],
            line.text,
            round_trip=line.round_trip,
            truncated=line.truncated,
            settings=checks,
        )
        rows.append(
            FolderRow(
                id=example.example_id,
                group=example.group,
                language=target,
                label=corpus.labels[example.label],
                text=line.text,
                rephrases=line.rephrases,
                rephrases_origin="machine" if line.rephrases else None,
                origin="machine",
                status="flagged" if found else "passed",
                flags=found,
                round_trip=line.round_trip,
                model=model,
            )
        )
    return rows


def all_rows(folder: Path) -> dict[tuple[str, str], list[FolderRow]]:
    """Read a parallel folder: split and language to rows.

    Raises:
        MpnInputError: If it is none, or a file of it is damaged.
    """
    there = contents(folder)
    if not there:
        raise MpnInputError(str(folder), "is no parallel folder", "name what mpn data wrote")
    return {
        (split, language): read_rows(folder, split, language)
        for split, languages in there.items()
        for language in languages
    }


def source_texts(
    rows: Mapping[tuple[str, str], Sequence[FolderRow]],
) -> dict[tuple[str, str], Text]:
    """Return the texts that were translated, by split and id."""
    return {
        (split, row.id): row.text
        for (split, _), found in rows.items()
        for row in found
        if row.origin == "source"
    }


def check_replaceable(folder: Path) -> None:
    """Refuse to write over what a person made.

    Raises:
        MpnInputError: If the folder holds reviewed rows, or anything but a parallel folder.
    """
    if not folder.exists():
        return
    if not folder.is_dir() or {path.name for path in folder.iterdir()} - {CARD, "data"}:
        raise MpnInputError(
            str(folder), "is there already, and no parallel folder", "name another, or remove it"
        )
    if not contents(folder):
        return
    statuses = [row.status for found in all_rows(folder).values() for row in found]
    n_reviewed = sum(status in REVIEWED for status in statuses)
    if n_reviewed:
        raise MpnInputError(
            str(folder), f"has {n_reviewed} rows that people have reviewed", "name another"
        )


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """Yield a folder to write into, that takes the place of ``final`` when the block is done."""
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=f".{final.name}-") as workshop:
        made = Path(workshop) / "made"
        made.mkdir()
        yield made
        if final.exists():
            shutil.move(final, Path(workshop) / "before")
        made.rename(final)
