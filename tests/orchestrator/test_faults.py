"""Whose an error is: the infrastructure's, to be tried again, or the work's."""

import errno

import pytest
import sqlalchemy.exc

from orchestrator.errors import OutageError
from orchestrator.executors.faults import fault_of
from orchestrator.outages import Patience, is_outage, passing_over_outages
from orchestrator.surroundings import StopRequest, Surroundings


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "storage"),
        (OSError(errno.EIO, "Input/output error"), "storage"),
        (ConnectionRefusedError(), "storage"),
        (TimeoutError(), "storage"),
        (caused(ValueError("odd"), OSError(errno.ENOSPC, "full")), "storage"),
        (FileNotFoundError(errno.ENOENT, "No such file"), None),
        (PermissionError(errno.EACCES, "Permission denied"), None),
        (MemoryError(), "worker"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "worker"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "worker"),
        (ValueError("CUDA error is a strange name for a value"), None),
        (RuntimeError("shapes do not match"), None),
        (KeyError("x"), None),
    ],
)
def test_whose_an_error_is(error, fault):
    assert fault_of(error) == fault


def test_a_database_that_is_down_is_an_outage():
    down = sqlalchemy.exc.OperationalError("select 1", {}, Exception("server closed"))
    assert is_outage(down) and is_outage(caused(RuntimeError("storage"), down))
    assert not is_outage(sqlalchemy.exc.IntegrityError("insert", {}, Exception("twice")))


class EndpointConnectionError(Exception):
    """As the client of S3 names it; no OSError."""

    __module__ = "botocore.exceptions"


def test_what_is_not_needed_is_passed_over_in_an_outage_and_in_nothing_else():
    with passing_over_outages("the ledger"):
        raise EndpointConnectionError
    with pytest.raises(KeyError), passing_over_outages("the ledger"):
        raise KeyError("x")


class NoLedger:
    """A roster whose ledger is away."""

    def beat(self):
        raise EndpointConnectionError


def test_a_driver_waits_for_one_store_while_another_is_away_too():
    clock = Clock()
    around = Surroundings(None, None, None, StopRequest(), {}, None, clock=clock, sleep=clock.pause)
    patience = around.patience(NoLedger(), 60)
    assert patience("Optuna's storage", failing(2, TimeoutError())) == 3
    assert clock.waits == [0.2, 0.4]
    around.stop.ask()
    with pytest.raises(OutageError):
        patience("Optuna's storage", failing(1, TimeoutError()))


class Clock:
    now_s = 0.0

    def __init__(self):
        self.waits = []

    def __call__(self):
        return self.now_s

    def pause(self, seconds):
        self.waits.append(seconds)
        self.now_s += seconds
        return True


def failing(n, error):
    """Fails n times with an error, then returns how often it was called."""
    calls = []

    def call():
        calls.append(None)
        if len(calls) <= n:
            raise error
        return len(calls)

    return call


def test_what_an_outage_keeps_from_being_done_is_done_after_it():
    clock = Clock()
    patience = Patience(clock, clock.pause, 60)
    assert patience("the ledger", failing(3, TimeoutError())) == 4
    assert clock.waits == [0.2, 0.4, 0.8]


def test_an_outage_that_lasts_too_long_is_told_with_what_is_kept():
    clock = Clock()
    with pytest.raises(OutageError) as caught:
        Patience(clock, clock.pause, 5)("the ledger", failing(99, OSError(errno.ENOSPC, "full")))
    assert clock.waits == [0.2, 0.4, 0.8, 1.6]  # the next would end behind the limit
    assert "the ledger could not be used for 3 s: OSError: [Errno 28] full" in str(caught.value)
    assert "every checkpoint is kept" in str(caught.value)


def test_what_is_no_outage_is_raised_at_once():
    clock = Clock()
    with pytest.raises(KeyError):
        Patience(clock, clock.pause, 60)("the ledger", failing(1, KeyError("x")))
    assert clock.waits == []


def test_waiting_ends_when_it_is_not_wanted_any_more():
    clock = Clock()
    with pytest.raises(OutageError):
        Patience(clock, lambda seconds: False, 60)("the ledger", failing(1, TimeoutError()))
