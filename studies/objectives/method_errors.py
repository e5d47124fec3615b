"""From what the method says of its input to what the orchestrator shows, and never retries."""

from collections.abc import Iterator
from contextlib import contextmanager

from mpn.errors import MpnInputError
from orchestrator.errors import InputError, Problem


def problem_of(error: MpnInputError) -> Problem:
    """Return the error as a problem; its place is relative to the study's base."""
    return Problem(error.place, None, error.found, error.wanted)


@contextmanager
def input_errors(
    where: str = "the study",
    state: str = "Nothing was launched. Mend this and run it again.",
) -> Iterator[None]:
    """Turn what the method says of its input into what the orchestrator never retries.

    Args:
        where: What holds the input, as its user would call it.
        state: What state the world is in, and what to do. Of data and models a plan knows no
            more than that they are there, so it is no use to plan again.
    """
    try:
        yield
    except MpnInputError as error:
        raise InputError(where, [problem_of(error)], state) from error
