"""Parallel folders: one Parquet file per split and language, and a card that the hub understands.

``FOLDER/data/SPLIT/LANGUAGE.parquet`` has the columns of :data:`SCHEMA`; the front matter of
``FOLDER/README.md`` lists the files, so that ``datasets.load_dataset(FOLDER, LANGUAGE)`` works.
"""

import glob
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mpn.data.rows import STATUSES, Row
from mpn.edits import Text
from mpn.errors import MpnInputError
from mpn.languages import check_language

Origin = Literal["source", "machine"]

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("group", pa.string()),
        ("language", pa.string()),
        ("label", pa.string()),
        ("text", pa.string()),
        ("text_pair", pa.string()),
        ("rephrases", pa.list_(pa.list_(pa.string()))),
        ("rephrases_origin", pa.string()),
        ("origin", pa.string()),
        ("status", pa.string()),
        ("flags", pa.list_(pa.string())),
        ("round_trip", pa.float64()),
        ("model", pa.string()),
    ]
)
"""Columns of a file. ``text_pair`` is null for single texts; a rephrase has the segments of a text;
``flags`` are the names of the checks that a translation failed."""

CARD = "README.md"
_ROWS_AT_ONCE = 1024
_SPLIT = re.compile(r"\w+")


@dataclass(frozen=True)
class FolderRow(Row):
    """A row, and where its texts come from.

    Attributes:
        rephrases_origin: Likewise for the rephrases; ``None`` where there are none.
        origin: Whether the text was written by people or translated by a model.
        flags: Checks that a translation failed.
        round_trip: chrF of the text translated back against the source, in [0, 100].
        model: Name and commit of the model that translated it.
    """

    rephrases_origin: Origin | None = None
    origin: Origin = "source"
    flags: tuple[str, ...] = ()
    round_trip: float | None = None
    model: str | None = None


def file_of(folder: Path, split: str, language: str) -> Path:
    """Return where the rows of a split and language lie, whether they are there or not.

    Raises:
        MpnInputError: If either is no name that a file can have.
    """
    check_language(language, place=str(folder))
    if not _SPLIT.fullmatch(split):
        raise MpnInputError(
            str(folder), f"{split!r} is not the name of a split", "write one like train or test"
        )
    return folder / "data" / split / f"{language}.parquet"


def contents(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the languages of each split, sorted; empty if it is no parallel folder."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob("data/*/*.parquet")):
        if not path.name.startswith("."):
            found.setdefault(path.parent.name, []).append(path.stem)
    return {split: tuple(languages) for split, languages in found.items()}


def read_rows(folder: Path, split: str, language: str) -> list[FolderRow]:
    """Read the rows of one split and language, in their order.

    Raises:
        MpnInputError: If there is no such file, it is damaged, or it has other columns.
    """
    import datasets  # takes most of a second, which planning a study need not wait for

    path = file_of(folder, split, language)
    if not path.is_file():
        there = contents(folder).get(split, ())
        raise MpnInputError(
            str(folder),
            f"it has no data/{split}/{language}.parquet",
            f"{split} has {' '.join(there)}" if there else _splits_there(folder),
        )
    try:
        found = datasets.Dataset.from_parquet(
            glob.escape(str(path.absolute())),
            streaming=True,
            batch_size=_ROWS_AT_ONCE,  # else it is the number of rows, which may be none
        )
        other = _differences(found.features.arrow_schema)
        rows = [] if other else list(found)
    except Exception as error:  # datasets raises many kinds for a damaged file
        raise MpnInputError(
            str(path), f"unreadable ({str(error).splitlines()[0]})", "write it again"
        ) from error
    if other:
        raise MpnInputError(str(path), other, f"the columns are {', '.join(SCHEMA.names)}")
    return [_row_of(row, path, number) for number, row in enumerate(rows, start=1)]


def write(folder: Path, split: str, language: str, rows: Iterable[FolderRow]) -> Path:
    """Write the rows of one split and language; what was there before stays until all is written.

    Raises:
        MpnInputError: If a row is of another language, or a text has not one or two segments.
    """
    path = file_of(folder, split, language)
    table = pa.Table.from_pylist([_columns(row, path, language) for row in rows], schema=SCHEMA)
    with _replacing(path) as file:
        pq.write_table(table, file)
    return path


def write_card(folder: Path, about: Mapping[str, Any], text: str) -> Path:
    """Write the card, with the files that are there in its front matter.

    Args:
        folder: The parallel folder.
        about: More front matter, such as ``license``.
        text: The card below its front matter, in Markdown.
    """
    files: dict[str, list[dict[str, str]]] = {}
    for split, languages in contents(folder).items():
        for language in languages:
            path = file_of(folder, split, language).relative_to(folder).as_posix()
            files.setdefault(language, []).append({"split": split, "path": path})
    configs = [{"config_name": name, "data_files": files[name]} for name in sorted(files)]
    front = yaml.safe_dump(
        {**about, "language": sorted(files), "configs": configs},
        sort_keys=False,
        allow_unicode=True,
    )
    with _replacing(folder / CARD) as file:
        file.write_text(f"---\n{front}---\n{text}", encoding="utf-8")
    return folder / CARD


def _splits_there(folder: Path) -> str:
    splits = contents(folder)
    return f"it has the splits {' '.join(splits)}" if splits else "name a parallel folder"


def _differences(schema: Any) -> str | None:
    """Return in which columns a file differs from :data:`SCHEMA`."""
    missing = [name for name in SCHEMA.names if name not in schema.names]
    if missing:
        return f"no column {', '.join(missing)}"
    other = [f.name for f in SCHEMA if not _alike(schema.field(f.name).type, f.type)]
    return f"columns of another type: {', '.join(other)}" if other else None


def _alike(found: Any, wanted: Any) -> bool:
    return pa.types.is_null(found) or str(found).replace("large_", "") == str(wanted)


def _row_of(found: Mapping[str, Any], path: Path, number: int) -> FolderRow:
    if found["status"] not in STATUSES:
        raise MpnInputError(
            f"{path}, row {number}", f"status {found['status']!r}", f"one of {', '.join(STATUSES)}"
        )
    text, pair = found["text"] or "", found["text_pair"]
    return FolderRow(
        id=found["id"] or "",
        group=found["group"] or "",
        language=found["language"] or "",
        label=found["label"] or "",
        text=(text,) if pair is None else (text, pair),
        rephrases=tuple(tuple(part or "" for part in one) for one in found["rephrases"] or ()),
        status=found["status"],
        rephrases_origin=found["rephrases_origin"],
        origin=found["origin"] or "source",
        flags=tuple(found["flags"] or ()),
        round_trip=found["round_trip"],
        model=found["model"],
    )


def _columns(row: FolderRow, path: Path, language: str) -> dict[str, Any]:
    segments: list[Text] = [row.text, *row.rephrases]
    if row.language != language or not all(1 <= len(text) <= 2 for text in segments):
        raise MpnInputError(
            str(path),
            f"row {row.id!r} is in {row.language!r}, with texts of "
            f"{' and '.join(sorted({str(len(text)) for text in segments}))} segments",
            f"give rows in {language}, with one or two segments each",
        )
    columns = {name: getattr(row, name, None) for name in SCHEMA.names}
    return columns | {"text": row.text[0], "text_pair": row.text[1] if row.text[1:] else None}


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a file beside ``path``, that takes its place when the block is done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as workshop:
        yield Path(workshop) / path.name
        (Path(workshop) / path.name).replace(path)
