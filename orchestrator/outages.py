"""Stores that are down for a while: what the driver asked of them is asked again."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy.exc

from orchestrator.errors import OutageError
from orchestrator.executors.faults import fault_of
from orchestrator.redaction import one_line

_LOG = logging.getLogger(__name__)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
T = TypeVar("T")


def is_outage(error: BaseException) -> bool:
    """Whether an error says that a database, a disk or a store cannot be used just now."""
    if fault_of(error) == "storage":
        return True
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError):
            return True
        if isinstance(seen, sqlalchemy.exc.DBAPIError) and seen.connection_invalidated:
            return True
        seen = seen.__cause__
    return False


@contextmanager
def passing_over_outages(what: str) -> Iterator[None]:
    """Let an outage keep from being done what is not needed, or will be done again.

    Args:
        what: What is called on, for the log.
    """
    try:
        yield
    except Exception as error:
        if not is_outage(error):
            raise
        _LOG.warning("%s cannot be used, %s", what, one_line(error))


class Patience:
    """Calls again what an outage kept from being done, within a limit of time."""

    def __init__(
        self, clock: Callable[[], float], pause: Callable[[float], bool], limit_s: float
    ) -> None:
        """Decide how long an outage may last.

        Args:
            clock: Seconds that do not go back.
            pause: Waits for so many seconds; returns whether it is still worth waiting.
            limit_s: How long, in s.
        """
        self._clock, self._pause, self._limit_s = clock, pause, limit_s

    def __call__(self, what: str, call: Callable[[], T]) -> T:
        """Call, until it succeeds; a call that is repeated must leave what one leaves.

        Args:
            what: What is called on, for messages: ``Optuna's storage``.
            call: What to do.

        Raises:
            OutageError: If the outage outlasts the limit, or waiting is not wanted any more.
        """
        began_s, wait_s = self._clock(), _FIRST_WAIT_S
        while True:
            try:
                return call()
            except Exception as error:
                if not is_outage(error):
                    raise
                reason = one_line(error)
                _LOG.warning("%s cannot be used, %s; trying again", what, reason)
                is_over = self._clock() - began_s + wait_s > self._limit_s
                if is_over or not self._pause(wait_s):
                    raise OutageError(what, reason, self._clock() - began_s) from error
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
