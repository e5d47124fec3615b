"""Flagged rows to people and back: a CSV that spreadsheets open, and what was decided in it."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mpn.data.parallel_folder import FolderRow
from mpn.data.rows import Status
from mpn.edits import Text
from mpn.translation.card import Rows
from mpn.translation.checks import is_empty
from mpn.translation.corpora import REVIEWED, source_texts

COLUMNS = (
    "split",
    "id",
    "language",
    "source",
    "source_pair",
    "translation",
    "translation_pair",
    "flags",
    "round_trip",
    "decision",
    "correction",
    "correction_pair",
)
DECISIONS: Mapping[str, Status] = {
    "accept": "accepted",
    "correct": "corrected",
    "reject": "rejected",
}
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")

Key = tuple[str, str, str]
"""Split, language and id of a row."""


@dataclass(frozen=True)
class ReviewProblem:
    """One thing that is wrong with a reviewed file.

    Attributes:
        line: Line of the file on which its row begins, from 1.
        column: Name of the column, or "".
        found: What is there.
        wanted: What would be right.
    """

    line: int
    column: str
    found: str
    wanted: str


@dataclass(frozen=True)
class Decision:
    """What a person decided of a row."""

    status: Status
    text: Text


def export_flagged(rows: Rows, language: str | None) -> tuple[str, int]:
    """Write the rows that are flagged and undecided.

    Args:
        rows: All rows of a folder.
        language: One of its languages, or None for all.

    Returns:
        CSV, and how many rows it has. A cell that a spreadsheet would take for a formula begins
        with an apostrophe, which :func:`read_decisions` takes away.
    """
    sources = source_texts(rows)
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    n_rows = 0
    for (split, _), found in rows.items():
        for row in found:
            if row.status != "flagged" or language not in (None, row.language):
                continue
            cells = {
                "split": split,
                "id": row.id,
                "language": row.language,
                **_cells("source", sources.get((split, row.id), ())),
                **_cells("translation", row.text),
                "flags": " ".join(row.flags),
                "round_trip": "" if row.round_trip is None else f"{row.round_trip:.1f}",
            }
            writer.writerow({name: _escaped(cell) for name, cell in cells.items()})
            n_rows += 1
    return file.getvalue(), n_rows


def read_decisions(text: str, rows: Rows) -> tuple[dict[Key, Decision], list[ReviewProblem]]:
    """Read what people decided.

    Args:
        text: A file of :func:`export_flagged`, with decisions; commas, semicolons or tabs.
        rows: All rows of the folder.

    Returns:
        Decisions, and everything that is wrong; if anything is, nothing should be done.
    """
    dialect = csv.excel()
    header = text.partition("\n")[0]
    dialect.delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), dialect)
    names = next(reader, [])
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        wanted = "give the file as it was exported, with all of its columns"
        return {}, [ReviewProblem(1, "", f"no column {', '.join(missing)}", wanted)]
    known = {
        (split, row.language, row.id): row
        for (split, _), found in rows.items()
        for row in found
        if row.origin == "machine"
    }
    sources = source_texts(rows)
    decisions: dict[Key, Decision] = {}
    problems: list[ReviewProblem] = []
    first_lines: dict[Key, int] = {}
    line = reader.line_num + 1
    for cells in reader:
        here, line = line, reader.line_num + 1
        if not any(cells):
            continue
        row = dict.fromkeys(COLUMNS, "") | {
            name: _unescaped(cell) for name, cell in zip(names, cells, strict=False)
        }
        key = row["split"], row["language"], row["id"]
        if key in first_lines:
            found = f"{_named(key)} a second time; first on line {first_lines[key]}"
            problems.append(ReviewProblem(here, "id", found, "keep one of the two"))
            continue
        first_lines[key] = here
        if key not in known:
            found = f"{_named(key)} is no translation of this folder"
            problems.append(ReviewProblem(here, "id", found, "import it where it was exported"))
            continue
        wrong = list(_problems(row, known[key], sources.get((key[0], key[2]), ())))
        problems += [ReviewProblem(here, *one) for one in wrong]
        if not wrong and row["decision"].strip():
            decisions[key] = _decision(row, known[key])
    return decisions, problems


def decided(
    rows: Rows, decisions: Mapping[Key, Decision]
) -> dict[tuple[str, str], list[FolderRow]]:
    """Return the files of a folder that decisions change, with the rows as they decide."""
    changed: dict[tuple[str, str], list[FolderRow]] = {}
    for place, found in rows.items():
        after = [_after(row, decisions.get((place[0], row.language, row.id))) for row in found]
        if after != list(found):
            changed[place] = after
    return changed


def _after(row: FolderRow, decision: Decision | None) -> FolderRow:
    return row if decision is None else replace(row, status=decision.status, text=decision.text)


def _problems(
    cells: Mapping[str, str], row: FolderRow, source: Text
) -> Iterator[tuple[str, str, str]]:
    """Yield column, what is there and what would be right, for each thing that is wrong."""
    for name, text in _cells("source", source).items():
        if _lines(cells[name]) != _lines(text):
            yield name, "is not the source's text", "leave it as it was exported"
    if row.status not in REVIEWED:  # else the export's text may be gone, and the file's is taken
        for name, text in _cells("translation", row.text).items():
            if _lines(cells[name]) != _lines(text):
                wanted = "leave it as it was exported; write a better text into correction"
                yield name, "is not the translation's text", wanted
    decision = cells["decision"].strip().casefold()
    if decision and decision not in DECISIONS:
        wanted = f"write {', '.join(DECISIONS)}, or nothing while it is open"
        yield "decision", repr(cells["decision"]), wanted
    if decision == "accept" and any(map(is_empty, source, _offered(cells, row))):
        yield "decision", "an empty translation is accepted", "write correct, or reject"
    corrections = [name for name in ("correction", "correction_pair") if cells[name].strip()]
    if decision == "correct" and not corrections:
        yield "correction", "is missing", "write the corrected text"
    if decision != "correct":
        for name in corrections:
            yield name, f"a text, and the decision {decision!r}", "write correct, or remove it"
    if "correction_pair" in corrections and len(row.text) == 1:
        yield "correction_pair", "a second segment", "this text has one"


def _decision(cells: Mapping[str, str], row: FolderRow) -> Decision:
    decision = cells["decision"].strip().casefold()
    text = _offered(cells, row)
    if decision == "correct":
        corrected = (cells["correction"].strip(), cells["correction_pair"].strip())
        text = tuple(new or old for new, old in zip(corrected, text, strict=False))
    return Decision(DECISIONS[decision], text)


def _offered(cells: Mapping[str, str], row: FolderRow) -> Text:
    """Return the translation that was decided on: of a row decided before, the file's."""
    names = ("translation", "translation_pair")[: len(row.text)]
    return tuple(cells[name] for name in names) if row.status in REVIEWED else row.text


def _cells(name: str, text: Sequence[str]) -> dict[str, str]:
    first, second = (*text, "", "")[:2]
    return {name: first, f"{name}_pair": second}


def _lines(text: str) -> str:
    """Return a text with line ends as any spreadsheet may leave them."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _named(key: Key) -> str:
    split, language, id_ = key
    return f"{id_!r} in {language!r} of {split!r}"


def _escaped(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _unescaped(cell: str) -> str:
    return cell[1:] if _ESCAPED.match(cell) else cell
