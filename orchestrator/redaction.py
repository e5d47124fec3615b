"""Credentials are taken out of whatever is shown, logged or stored.

They come as ``user:password@`` in a URI, as a parameter that is named for what it is
(``?password=…``, ``"secret_key": "…"``), as the password of a service that is in use, or as the
value of an environment variable that clients of services read. What is taken out is too much
rather than too little.
"""

import logging
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

HIDDEN = "***"
_SECRET_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "PGPASSWORD",
)
_SHORTEST = 6  # a shorter one would be found in words that are none

# A password may hold "/", ":" and "?": SQLAlchemy reads up to the last "@".
_USERINFO = re.compile(
    r"""(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s"'<>@]*(?:@[^\s"'<>@/?#]*)*@""", re.I
)
_NAMED = re.compile(
    r"""(?P<name>\b(?:[\w-]*[_-]|ssl)?(?:password|passwd|pwd|secret|token|signature|credential|sig
        |(?:api|access|secret|account)[_-]?key)(?:\s*=\s*["']?|["']\s*:\s*["']))
        [^\s"'&;,}\]]+""",
    re.I | re.X,
)
_concealed: set[str] = set()


def conceal(uri: str) -> str:
    """Take the password of a URI out of every text from now on, however it is written there.

    Args:
        uri: Where a service is.

    Returns:
        The same.
    """
    _concealed.update(_passwords_of(uri))
    return uri


def redact(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return a text without the credentials in it.

    Args:
        text: Anything that will be shown or kept.
        environment: Where secrets are looked up that would not be known by their looks.

    Returns:
        The text, with ``***`` in the place of each credential; a text without any as it is.
    """
    if "://" in text:
        text = _USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _NAMED.sub(rf"\g<name>{HIDDEN}", text)
    for secret in (*_concealed, *_secrets_in(environment)):
        text = text.replace(secret, HIDDEN)
    return text


class RedactedRecord(logging.LogRecord):
    """A record of the log that no handler, whosever it is, can get a credential from."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        if self.exc_info:
            self.exc_text = redact(logging.Formatter().formatException(self.exc_info))
        if self.stack_info:
            self.stack_info = redact(self.stack_info)

    def getMessage(self) -> str:  # noqa: N802
        """Return the message with its arguments, redacted."""
        return redact(super().getMessage())


@contextmanager
def redacted_logs() -> Iterator[None]:
    """Redact all that this process logs: libraries bring handlers of their own."""
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(RedactedRecord)
    try:
        yield
    finally:
        logging.setLogRecordFactory(before)


def _secrets_in(environment: Mapping[str, str]) -> Iterator[str]:
    for name in _SECRET_VARIABLES:
        if len(found := environment.get(name, "")) >= _SHORTEST:
            yield found


def _passwords_of(uri: str) -> Iterator[str]:
    """Return the password in a URI, as it is written there and as servers know it."""
    _, mark, rest = uri.partition("://")
    userinfo, at, _ = rest.rpartition("@")
    password = userinfo.partition(":")[2]
    if mark and at and len(password) >= _SHORTEST:
        yield password
        yield urllib.parse.unquote(password)


def one_line(error: BaseException, *, longest: int | None = None) -> str:
    """Return an error's name and the first line of what it says, without credentials.

    Args:
        error: The error.
        longest: Characters of what it says that are kept; None: all.
    """
    name, lines = type(error).__name__, redact(str(error)).strip().splitlines()
    return f"{name}: {lines[0][:longest]}" if lines else name
