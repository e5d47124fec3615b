"""What is wrong with rows: kinds, counts, and the first example of each."""

import re
import unicodedata
from collections.abc import Iterator

from mpn.data.rows import Row

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Zs"}
_SHOWN = 40


class Findings:
    """Kinds of faults, each with its count and first example; and which examples they spoil."""

    def __init__(self) -> None:
        """Begin with none."""
        self._found: dict[str, tuple[int, str]] = {}
        self._ids: set[str] = set()

    def add(self, kind: str, example: str, example_id: str | None) -> None:
        """Note a fault.

        Args:
            kind: What is wrong.
            example: Where, for a person to find it.
            example_id: Whom it spoils; ``None`` if it is a row of no example.
        """
        n, first = self._found.get(kind, (0, example))
        self._found[kind] = (n + 1, first)
        if example_id is not None:
            self._ids.add(example_id)

    def __bool__(self) -> bool:
        """Whether anything is wrong."""
        return bool(self._found)

    def __str__(self) -> str:
        """Return one line of all kinds, the most frequent first."""
        ordered = sorted(self._found.items(), key=lambda item: -item[1][0])
        return "; ".join(f"{kind}: {n} (first: {first})" for kind, (n, first) in ordered)

    def counts(self) -> dict[str, int]:
        """Return how often each kind was found."""
        return {kind: n for kind, (n, _) in self._found.items()}

    @property
    def n_bad(self) -> int:
        """How many examples are spoilt."""
        return len(self._ids)


def faults_of(row: Row, max_characters: int) -> Iterator[str]:
    """Yield what is wrong with the texts and names in a row, each kind once.

    Marks that steer the direction of writing are no faults.

    Args:
        row: Any row.
        max_characters: A longer segment is a fault.
    """
    segments = [segment for text in (row.text, *row.rephrases) for segment in text]
    if any(_is_blank(segment) for segment in segments):
        yield "blank text"
    if any(len(segment) > max_characters for segment in segments):
        yield f"text of more than {max_characters} characters"
    if any(_CONTROL.search(text) for text in (*segments, row.id, row.group, row.label)):
        yield "control character"


def quoted(value: str) -> str:
    """Return a value of the user's as a short text of printable characters."""
    shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
    return repr(shown)


def _is_blank(segment: str) -> bool:
    """Whether there is nothing to read: spaces, marks of format and control characters only."""
    return all(unicodedata.category(character) in _UNSEEN for character in segment)
