"""YAML without its traps: the core schema of YAML 1.2, one document, nothing shared or tagged."""

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from orchestrator.errors import Problem, below, shown

LARGEST_FILE = 250_000  # bytes
DEEPEST_NESTING = 32
MOST_VALUES = 10_000  # keys count too; reading so many takes about a second
LONGEST_KEY = 200
_LONGEST_PLACE = 1_000
_MOST_PROBLEMS = 100
_LONGEST_NAME = 40
_LARGEST_INT = 2**63 - 1

_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

_ADVICE = {
    "mapping values are not allowed here": "put text that contains ': ' in quotes",
    "that cannot start any token": "indent with spaces; quote text that starts with a mark",
    "while parsing a flow": "check that every [ and { is closed, with commas between",
    "while scanning a quoted scalar": "check that every quote is closed",
    "while parsing a block": "check the indentation: keys of one mapping start in one column",
    "could not find expected ':'": "a line of a mapping reads key: value",
}


@dataclass
class Document:
    """What was read, and where it stands.

    Attributes:
        value: Nested dicts, lists, text, numbers, booleans and None.
        lines: Line, counted from 1, of every place; a key's line for what it names. The top
            is "".
        problems: Everything that is wrong.
        spoilt: Places whose value is not what the text means, because of a problem there.
        complete: Whether the text was read to its end.
    """

    value: object = None
    lines: dict[str, int] = field(default_factory=lambda: {"": 1})
    problems: list[Problem] = field(default_factory=list)
    spoilt: set[str] = field(default_factory=set)
    complete: bool = False


class _StopReadingError(Exception):
    """The rest cannot be read; the problem has been noted."""


def read(data: bytes) -> Document:
    """Read a document and everything that is wrong with it.

    Plain scalars are resolved by the core schema of YAML 1.2, in decimal only: ``no`` and ``on``
    are text, ``1e-3`` is a float, ``010`` is ten, ``0x10``, ``1:30`` and ``2026-01-31`` are text.

    Args:
        data: The bytes of the file.

    Returns:
        The document; never raises for its content.
    """
    document = Document()
    try:
        _Reader(_decoded(data, document), document).read()
        document.complete = True
    except _StopReadingError:
        pass
    return document


def above(place: str) -> str:
    """Write the place that contains a place.

    Args:
        place: Dotted; not "".

    Returns:
        The place without its last key or index.
    """
    return place.rpartition("[" if place.endswith("]") else ".")[0]


def _decoded(data: bytes, document: Document) -> str:
    if len(data) > LARGEST_FILE:
        found, wanted = f"more than {LARGEST_FILE:,} bytes", "a question needs a few thousand"
        document.problems.append(Problem("", 1, found, wanted))
        raise _StopReadingError
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{data[error.start]:02x} is not UTF-8"
        document.problems.append(Problem("", line, found, "save the file as UTF-8"))
        raise _StopReadingError from None


class _Reader:
    """Builds values from the parser's events: there, unlike in nodes, anchors are seen."""

    def __init__(self, text: str, document: Document) -> None:
        self._text = text
        self._document = document
        self._n_values = 0

    def read(self) -> None:
        try:
            self._parser: Any = yaml.SafeLoader(self._text)  # whose methods have no types
            self._read()
        except yaml.reader.ReaderError as error:
            line = self._text.count("\n", 0, error.position) + 1
            self._note(
                "",
                line,
                f"unprintable character U+{ord(self._text[error.position]):04X}",
                "remove it",
            )
            raise _StopReadingError from None
        except yaml.MarkedYAMLError as error:
            self._note_syntax(error)
            raise _StopReadingError from None
        except (ValueError, OverflowError):  # from chr(), for an escape like "\U00110000"
            self._note("", self._parser.line + 1, "an escape that is no character", "correct it")
            raise _StopReadingError from None

    def _read(self) -> None:
        self._parser.get_event()  # the stream's start
        if self._parser.check_event(yaml.StreamEndEvent):
            self._note("", 1, "nothing in it", "a mapping of keys to values")
            raise _StopReadingError
        self._parser.get_event()  # the document's start
        self._document.lines[""] = self._line_of(self._parser.peek_event())
        self._document.value = self._value("", self._document.lines[""], 0)
        self._parser.get_event()  # the document's end
        if not self._parser.check_event(yaml.StreamEndEvent):
            line = self._line_of(self._parser.peek_event())
            self._note("", line, "a second document", "one document a file: remove the '---'")
            raise _StopReadingError

    def _value(self, place: str, line: int, depth: int) -> object:
        event = self._next_event(line)
        if isinstance(event, yaml.AliasEvent):
            name = _cut(str(event.anchor))
            self._spoil(place, line, f"alias *{name}", "write the value out")
            return f"*{name}"
        if event.anchor is not None:
            found = f"anchor &{_cut(event.anchor)}"
            self._spoil(place, line, found, "remove it, and write values out")
        if event.tag is not None:
            tag = _cut(event.tag.replace("tag:yaml.org,2002:", "!!"))
            self._spoil(place, line, f"tag {tag}", "remove it: types follow from the values")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, place, line)
        if depth == DEEPEST_NESTING:
            self._note(place, line, "nested too deeply", f"at most {DEEPEST_NESTING} levels")
            raise _StopReadingError
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(place, depth + 1)
        return self._mapping(place, depth + 1)

    def _sequence(self, place: str, depth: int) -> list[object]:
        items: list[object] = []
        while not self._parser.check_event(yaml.SequenceEndEvent):
            here = below(place, len(items))
            line = self._document.lines[here] = self._line_of(self._parser.peek_event())
            items.append(self._value(here, line, depth))
        self._parser.get_event()
        return items

    def _mapping(self, place: str, depth: int) -> dict[str, object]:
        entries: dict[str, object] = {}
        while not self._parser.check_event(yaml.MappingEndEvent):
            line = self._line_of(self._parser.peek_event())
            known = len(self._document.problems)
            key = self._value(place, line, depth)
            if not isinstance(key, str):
                if len(self._document.problems) == known:  # else it is an alias, say
                    self._note(place, line, f"the key {shown(key)} is not text", "put it in quotes")
                self._skip(line)
                continue
            here = below(place, key)
            if len(key) > LONGEST_KEY or len(here) > _LONGEST_PLACE:
                what = f"the key {shown(key)}" if len(key) > LONGEST_KEY else "the way to a key"
                most = LONGEST_KEY if len(key) > LONGEST_KEY else _LONGEST_PLACE
                self._note(place, line, f"{what} is too long", f"at most {most} characters")
                self._skip(line)
                continue
            if key in entries:
                first = self._document.lines[here]
                self._note(here, line, f"given again; it is on line {first} already", "keep one")
                self._skip(line)
                continue
            self._document.lines[here] = line
            entries[key] = self._value(here, line, depth)
        self._parser.get_event()
        return entries

    def _next_event(self, line: int) -> Any:
        """Take an event, unless there were too many."""
        self._n_values += 1
        if self._n_values > MOST_VALUES:
            self._note("", line, f"more than {MOST_VALUES:,} values", "list fewer")
            raise _StopReadingError
        return self._parser.get_event()

    def _skip(self, line: int) -> None:
        depth = 0
        while True:
            event = self._next_event(line)
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth == 0:
                return

    def _scalar(self, event: yaml.ScalarEvent, place: str, line: int) -> object:
        text = event.value
        if event.style is not None:  # quoted, or a block
            if any("\ud800" <= character <= "\udfff" for character in text):
                self._spoil(place, line, "half of a surrogate pair", "escape with \\U instead")
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INT.fullmatch(text):
            if len(text) <= 20 and abs(int(text)) <= _LARGEST_INT:
                return int(text)
            self._spoil(place, line, f"{text[:40]} is too large", "at most 2**63 - 1, or in quotes")
            return text
        number = float(text) if _FLOAT.fullmatch(text) else None
        if _NOT_FINITE.fullmatch(text) or (number is not None and not math.isfinite(number)):
            self._spoil(place, line, f"{text[:40]} is not a finite number", "a finite number")
            return text
        return text if number is None else number

    def _line_of(self, event: Any) -> int:
        return int(event.start_mark.line) + 1

    def _note(self, place: str, line: int, found: str, wanted: str) -> None:
        problems = self._document.problems
        if len(problems) == _MOST_PROBLEMS:
            last = f"more than {_MOST_PROBLEMS} problems"
            problems.append(Problem("", line, last, "mend these first: the rest was not read"))
            raise _StopReadingError
        problems.append(Problem(place, line, found, wanted))

    def _spoil(self, place: str, line: int, found: str, wanted: str) -> None:
        self._note(place, line, found, wanted)
        self._document.spoilt.add(place)

    def _note_syntax(self, error: yaml.MarkedYAMLError) -> None:
        marks = [mark for mark in (error.problem_mark, error.context_mark) if mark is not None]
        line = 1 + int(marks[0].line if marks else self._parser.line)
        said = f"{error.context or ''} {error.problem or ''}".strip()
        advice = next((text for sign, text in _ADVICE.items() if sign in said), "correct the YAML")
        self._note("", line, f"not YAML: {said}", advice)


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
