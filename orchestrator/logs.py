"""Structured logs: a JSON object a line, which says what study, trial and block it is about."""

import json
import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.own_files import own_file
from orchestrator.redaction import redact

_ABOUT: ContextVar[Mapping[str, object]] = ContextVar("about", default={})  # noqa: B039


@contextmanager
def about(**fields: object) -> Iterator[None]:
    """Let all that is logged within say what it is about.

    Args:
        fields: ``study``, ``trial``, ``block``, ``attempt``, ``worker``; None says nothing.
    """
    known = {key: value for key, value in fields.items() if value is not None}
    token = _ABOUT.set({**_ABOUT.get(), **known})
    try:
        yield
    finally:
        _ABOUT.reset(token)


class JsonLines(logging.Formatter):
    """Writes ``time`` (UTC), ``level``, ``logger``, ``message``, and what it is about.

    What was raised stands in ``exception``, with its traceback. Nothing holds credentials.
    """

    def __init__(self, **always: object) -> None:
        """Take the fields that every line has."""
        super().__init__()
        self._always = always

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; whatever is in the message, it stays one."""
        at = datetime.fromtimestamp(record.created, UTC)
        content: dict[str, object] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
            **self._always,
            **_ABOUT.get(),
        }
        if record.exc_info:
            content["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(content, ensure_ascii=False, default=str)


@contextmanager
def logging_to(path: Path, **always: object) -> Iterator[None]:
    """Append what this process logs, from INFO up, to a file.

    Args:
        path: The file; its folder is made.
        always: Fields of every line.

    Raises:
        InputError: If a link stands where the file should be.
    """
    handler = open_log(path, **always)
    try:
        yield
    finally:
        root = logging.getLogger()
        root.removeHandler(handler)
        handler.close()


class _LogFile(logging.FileHandler):
    """A file that a full disk leaves with gaps, and nothing worse: no traceback, no end of work."""

    _has_gap = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Let the file go; the next record opens it again."""
        stream, self.stream = self.stream, None
        self._has_gap = True
        if stream is not None:
            with suppress(OSError):
                stream.close()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; one that was cut off before it ends first."""
        if self._has_gap:
            self._has_gap = False
            super().emit(_EMPTY)
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record, or nothing."""
        return "" if record is _EMPTY else super().format(record)

    def close(self) -> None:
        """Close the file, whatever it still holds."""
        with suppress(OSError):
            super().close()


_EMPTY = logging.LogRecord("", logging.INFO, "", 0, "", (), None)


def open_log(path: Path, **always: object) -> logging.Handler:
    """Do what :func:`logging_to` does, to the end of the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _LogFile(own_file(path), encoding="utf-8", delay=True)
    handler.setFormatter(JsonLines(**always))
    handler.setLevel(logging.INFO)
    root = logging.getLogger()
    root.addHandler(handler)
    if root.getEffectiveLevel() > logging.INFO:
        root.setLevel(logging.INFO)
    return handler


def worker_name() -> str:
    """Return what this process is called in logs and messages: ``host:pid``."""
    return f"{socket.gethostname()}:{os.getpid()}"


def worker_log(logs: Path, study: str) -> Path:
    """Return the log file of this process, as a worker of a study.

    Args:
        logs: The log folder of the study's home, as the driver sees it.
        study: Its name.

    Returns:
        A file in that folder, if this machine has the home; else one in its temporary folder.
    """
    folder = logs if logs.parent.is_dir() else Path(tempfile.gettempdir()) / "mpn-logs"
    return folder / f"{study}-{worker_name().replace(':', '-')}.log"
