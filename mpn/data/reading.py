"""Records out of JSON Lines, CSV, TSV and Parquet files, and out of data sets in the hub's layout.

Text files are taken line by line through ``datasets`` and parsed here: its own JSON and CSV
builders guess types, turn ids such as ``007`` or dates into something else, shift columns where a
row has one field too many, and do not name the line that is wrong.
"""

import csv
import glob
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from mpn.errors import MpnInputError

Record = Mapping[str, Any]
SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")
_ROWS_AT_ONCE = 1024
_FORMATS = "JSON Lines, CSV or TSV, gzipped or not, or Parquet"


def bare_name(path: Path) -> str | None:
    """Return a file's name without what tells its format; ``None`` if it cannot be read."""
    name = path.name.removesuffix(".gz")
    return next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), None)


def read_records(path: Path) -> Iterator[tuple[str, Record]]:
    """Read a file, whatever its format.

    A TSV file has no quoting: every character between two tabs counts.

    Yields:
        Each record, behind the place where it stands.

    Raises:
        MpnInputError: If the file is damaged, or not all rows have the columns of the first.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix == ".parquet":
        for number, record in enumerate(_load(path, "parquet"), start=1):
            yield f"{path}, row {number}", record
    elif suffix == ".jsonl":
        yield from _json_lines(path)
    elif suffix in (".csv", ".tsv"):
        yield from _table(path, _comma_separated if suffix == ".csv" else _tab_separated)
    else:
        raise MpnInputError(str(path), "a file of another format", f"give {_FORMATS}")


def hub_records(
    where: str, config: str, split: str, revision: str | None, cache: Path
) -> Iterator[Record]:
    """Read one split of a data set on the hub, or of a folder in the hub's layout.

    Args:
        where: Name on the hub, or a folder.
        config: Name of the configuration.
        split: Name of the split, as the hub has it.
        revision: Commit, for the hub; ``None`` for a folder.
        cache: Where ``datasets`` keeps what it downloads.

    Raises:
        MpnInputError: If it cannot be loaded.
    """
    import datasets  # takes most of a second, which planning a study need not wait for

    datasets.disable_progress_bars()
    options: dict[str, Any] = {"revision": revision, "cache_dir": str(cache)}
    if revision is None:
        options = {"streaming": True}  # leaves no copy behind
    try:
        rows = datasets.load_dataset(where, config, split=split, **options)
        yield from map(_names_for_numbers(rows.features), rows)
    except Exception as error:  # datasets raises many kinds, for a damaged file as for no network
        mend = "check the network and the commit" if revision else "give a folder as on the hub"
        raise MpnInputError(
            where,
            f"cannot be loaded ({_gist(error)})",
            f"{mend}, or set dataset.path to other files of this data set",
        ) from error


def _load(path: Path, builder: Literal["text", "parquet"]) -> Iterator[Record]:
    """Stream a file, so that no copy of it is kept.

    ``load_dataset`` would do the same, and tell the builder's download counter on the network.
    """
    import datasets

    name = glob.escape(str(path.absolute()))
    try:
        if builder == "text":
            rows = datasets.Dataset.from_text(name, streaming=True)
        else:  # whose batch is all rows unless it is given, and there may be none
            rows = datasets.Dataset.from_parquet(name, streaming=True, batch_size=_ROWS_AT_ONCE)
        yield from map(_names_for_numbers(rows.features), rows)
    except Exception as error:  # datasets raises many kinds for a damaged file
        raise MpnInputError(
            str(path), f"unreadable ({_gist(error)})", f"give {_FORMATS}, in UTF-8 and whole"
        ) from error


def _names_for_numbers(features: Any) -> Any:
    """Return a function that writes names of classes where a record has their numbers."""
    classes = {
        column: feature.names
        for column, feature in (features or {}).items()
        if hasattr(feature, "names")
    }

    def named(record: Record) -> Record:
        numbers = {column: record[column] for column in classes}
        return {**record} | {
            column: classes[column][number]
            if number is not None and 0 <= number < len(classes[column])
            else None
            for column, number in numbers.items()
        }

    return named


def _lines(path: Path) -> Iterator[str]:
    for number, row in enumerate(_load(path, "text")):
        text: str = row["text"]
        yield text.removeprefix("\ufeff") if number == 0 else text


def _json_lines(path: Path) -> Iterator[tuple[str, Record]]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise MpnInputError(
                place, f"no JSON ({_gist(error)})", "write one whole JSON object a line"
            ) from error
        if not isinstance(record, dict):
            raise MpnInputError(
                place, f"a {type(record).__name__}, not an object", "write one JSON object a line"
            )
        yield place, record


def _comma_separated(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader((f"{line}\n" for line in lines), strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error
        if row:
            yield reader.line_num, row


def _tab_separated(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, start=1):
        if line:
            yield number, line.split("\t")


def _table(path: Path, parse: Any) -> Iterator[tuple[str, Record]]:
    rows: Iterable[tuple[int, list[str]]] = parse(_lines(path))
    names: list[str] | None = None
    try:
        for number, row in rows:
            if names is None:
                names = row
                if len(set(names)) < len(names):
                    raise ValueError("two columns of one name")
            elif len(row) != len(names):
                raise ValueError(f"line {number} has {len(row)} fields, the header {len(names)}")
            else:
                yield f"{path}, line {number}", dict(zip(names, row, strict=True))
    except MpnInputError:
        raise
    except ValueError as error:
        raise MpnInputError(
            str(path), f"no table ({error})", "give a header, and rows of as many fields"
        ) from error
    if names is None:
        raise MpnInputError(str(path), "empty", "give a header, and rows")


def _gist(error: BaseException) -> str:
    """Return the first line of what went wrong at the bottom of it."""
    while error.__cause__ is not None:
        error = error.__cause__
    first = str(error).strip().split("\n", 1)[0]
    return first[:200] or type(error).__name__
