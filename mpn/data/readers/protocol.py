"""What a reader is, and what several of them share."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mpn.data.reading import Record
from mpn.data.rows import Row
from mpn.data.settings import DatasetSettings
from mpn.edits import Text
from mpn.errors import MpnInputError
from mpn.pretrained import is_commit


class Reader(Protocol):
    """Turns files, or a data set on the hub, into rows."""

    @property
    def settings(self) -> frozenset[str]:
        """Names of the settings that it heeds, beside those that all corpora of rows do."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, in their order; empty if only the rows tell."""
        ...

    def languages(self, settings: DatasetSettings) -> tuple[str, ...] | None:
        """Return the languages that there are, without reading rows; ``None`` if rows alone tell.

        Raises:
            MpnInputError: If the files are not where the settings say.
        """
        ...

    def files(self, settings: DatasetSettings, languages: Sequence[str]) -> Mapping[str, Path]:
        """Return the files that rows are read from, by names that do not change with the place.

        Raises:
            MpnInputError: If there are none, or a hub data set is not pinned to a commit.
        """
        ...

    def rows(
        self, settings: DatasetSettings, languages: Sequence[str], cache: Path
    ) -> Iterator[Row]:
        """Yield the rows, at least those in ``languages``.

        Raises:
            MpnInputError: If a file is damaged, or lacks a column.
        """
        ...


def needed_path(settings: DatasetSettings) -> str:
    """Return ``dataset.path``.

    Raises:
        MpnInputError: If there is none.
    """
    if settings.path is None:
        raise MpnInputError(
            "dataset.path", "null", f"{settings.name} is read from files: give their path"
        )
    return settings.path


def check_pinned(settings: DatasetSettings, hub_name: str) -> None:
    """Refuse a data set on the hub that may change under a study.

    Raises:
        MpnInputError: If ``revision`` is no commit.
    """
    if not is_commit(settings.revision):
        raise MpnInputError(
            "dataset.revision",
            f"{settings.revision or 'null'} is not a commit of {hub_name}",
            "write the 40 hexadecimal digits of one: its page on the hub lists them under "
            "'Files and versions', 'History'; or set dataset.path to files",
        )


def field_of(record: Record, names: Sequence[str], place: str) -> str:
    """Return the first of some fields that a record has, as text; ``""`` for null.

    Raises:
        MpnInputError: If it has none of them, or it holds more than a text or number.
    """
    name = next((name for name in names if name in record), None)
    if name is None:
        raise MpnInputError(
            place, f"no {' or '.join(names)}", f"its fields are {', '.join(record) or 'none'}"
        )
    return scalar(record[name], f"{place}, {name}")


def scalar(value: Any, place: str) -> str:
    """Return a text, number or null as text.

    Raises:
        MpnInputError: If it is anything else.
    """
    if value is not None and not isinstance(value, str | int | float):
        raise MpnInputError(place, f"a {type(value).__name__}", "give a text")
    return "" if value is None else str(value)


def rephrases_of(found: Any, text: Text, place: str) -> tuple[Text, ...]:
    """Return other wordings of a text.

    Args:
        found: A list of them, as JSON in a table, or null. Each is the list of its segments, or
            the first segment alone, which then has the others of ``text`` behind it.
        text: The text.
        place: Where they stand, for errors.

    Raises:
        MpnInputError: If they are nothing of that kind.
    """
    if isinstance(found, str):
        try:
            found = json.loads(found) if found.strip() else None
        except (ValueError, RecursionError) as error:
            raise MpnInputError(
                place, f"no JSON ({error})", 'write a list such as ["Milk is white."]'
            ) from error
    if found is None:
        return ()
    if not isinstance(found, Sequence):
        raise MpnInputError(place, f"a {type(found).__name__}", "give a list of texts")
    return tuple(
        tuple(scalar(segment, place) for segment in one)
        if isinstance(one, list | tuple)
        else (scalar(one, place), *text[1:])
        for one in found
    )
