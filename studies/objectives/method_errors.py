"""From what the method says of its input to what the orchestrator shows, and never retries."""

from collections.abc import Iterator
from contextlib import contextmanager

from mpn.errors import MpnInputError
from orchestrator.errors import InputError, Problem


def problem_of(error: MpnInputError) -> Problem:
    """Return the error as a problem; its place is relative to the study's base."""
    return Problem(error.place, None, error.found, error.wanted)


@contextmanager
def input_errors() -> Iterator[None]:
    """Turn what the method says of its input into what the orchestrator never retries."""
    try:
        yield
    except MpnInputError as error:
        raise InputError("the study", [problem_of(error)]) from error
