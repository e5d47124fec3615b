"""Drivers that share a ledger: who lives, and whose a block is."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from orchestrator import sessions
from orchestrator.errors import StudyBusyError
from orchestrator.ledger import Ledger
from orchestrator.sessions import BEAT_EVERY_S, Claims, Roster, present

BLOCK = "ab" * 32


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(tmp_path):
    return Ledger(str(tmp_path))


def roster(ledger, clock, role="main", study="a", *, place=None, process=None):
    """A driver, by default of this process; at another place its process says nothing."""
    made = Roster(ledger, study, role, clock, lease_s=10.0)
    made.own = replace(made.own, place=place or made.own.place, process=process or made.own.process)
    return made


def names(ledger):
    return {name for name, _ in ledger.notes("sessions")}


def test_a_driver_is_listed_from_its_entry_until_it_leaves(ledger, clock):
    own = roster(ledger, clock)
    own.enter()
    assert names(ledger) == {own.own.name}
    own.leave()
    assert names(ledger) == set()
    own.leave()  # again does no harm


def test_a_beat_is_written_every_now_and_then(ledger, clock):
    own = roster(ledger, clock)
    own.enter()
    own.beat()
    assert dict(ledger.notes("sessions"))[own.own.name]["beat"] == 1
    clock.now_s += BEAT_EVERY_S
    own.beat()
    assert dict(ledger.notes("sessions"))[own.own.name]["beat"] == 2


def test_a_driver_elsewhere_is_struck_off_once_it_stands_still_for_longer_than_the_lease(
    ledger, clock
):
    other, own = roster(ledger, clock, place="elsewhere"), roster(ledger, clock)
    other.enter()
    own.watch()
    clock.now_s += 10
    own.watch()
    assert names(ledger) == {other.own.name}  # exactly at the lease: still trusted
    clock.now_s += 0.1
    own.watch()
    assert names(ledger) == set()


def test_a_driver_elsewhere_that_beats_is_kept_whatever_its_clock_says(ledger, clock):
    other, own = roster(ledger, Clock(), place="elsewhere"), roster(ledger, clock)
    for _ in range(5):
        other._write()
        own.watch()
        clock.now_s += 9
    assert names(ledger) == {other.own.name}


def test_a_driver_of_this_machine_whose_process_has_ended_is_struck_off_at_once(ledger, clock):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    other = roster(ledger, clock, process=f"{ended.pid}@1")
    other.enter()
    roster(ledger, clock).watch()
    assert names(ledger) == set()


def test_a_process_that_got_the_number_of_one_that_ended_is_another(ledger, clock):
    other = roster(ledger, clock, process=f"{os.getpid()}@1")
    other.enter()
    roster(ledger, clock).watch()
    assert names(ledger) == set()


def test_a_driver_of_this_machine_that_lives_is_kept_even_if_it_is_stopped(ledger, clock):
    other, own = roster(ledger, clock), roster(ledger, clock)
    other.enter()
    for _ in range(3):
        own.watch()
        clock.now_s += 1000
    assert names(ledger) == {other.own.name}


def test_a_second_main_driver_is_refused_while_the_first_beats(ledger, clock):
    first, second = roster(ledger, clock, place="elsewhere"), roster(ledger, clock)
    first.enter()

    def sleep(seconds):
        clock.sleep(seconds)
        first.beat()

    with pytest.raises(StudyBusyError), present(second, sleep, is_alone=False):
        raise AssertionError("two drivers")
    assert names(ledger) == {first.own.name}


def test_a_main_driver_elsewhere_that_is_gone_is_waited_out(ledger, clock):
    first, second = roster(ledger, clock, place="elsewhere"), roster(ledger, clock)
    first.enter()
    began_s = clock.now_s
    with present(second, clock.sleep, is_alone=False):
        assert 10 < clock.now_s - began_s < 13
        assert names(ledger) == {second.own.name}
    assert names(ledger) == set()


def test_whoever_holds_the_lock_need_not_wait(ledger, clock):
    first, second = roster(ledger, clock, place="elsewhere"), roster(ledger, clock)
    helper = roster(ledger, clock, "joined", place="elsewhere")
    first.enter()
    helper.enter()
    with present(second, clock.sleep, is_alone=True):
        assert clock.now_s == 100
        assert names(ledger) == {second.own.name, helper.own.name}


def test_drivers_of_other_studies_and_those_who_help_are_no_obstacle(ledger, clock):
    roster(ledger, clock, study="b").enter()
    roster(ledger, clock, "joined").enter()
    with present(roster(ledger, clock), clock.sleep, is_alone=False):
        assert clock.now_s == 100


def test_a_driver_is_listed_whatever_it_is_busy_with(ledger, clock, monkeypatch):
    monkeypatch.setattr(sessions, "BEAT_EVERY_S", 0.02)
    own = roster(ledger, clock)
    with own.listed():
        deadline = time.monotonic() + 20
        while dict(ledger.notes("sessions"))[own.own.name]["beat"] < 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert names(ledger) == set()
    time.sleep(0.1)
    assert names(ledger) == set()  # and stays off it


def entered_together(ledger, clock, *, own, rival, stays):
    """Enter between a rival's look at the roster and its entry."""
    one, other = roster(ledger, clock), roster(ledger, clock, place="elsewhere")
    one.own, other.own = replace(one.own, name=own), replace(other.own, name=rival)

    def sleep(seconds):
        clock.sleep(seconds)
        if not stays:
            other.leave()

    def watch_late():
        watch()
        other.enter()

    watch, one.wait_until_alone = one.watch, lambda sleep: watch_late()
    with present(one, sleep, is_alone=False):
        return names(ledger)


def test_of_two_that_enter_at_once_one_yields(ledger, clock):
    assert entered_together(ledger, clock, own="main-1", rival="main-2", stays=False) == {"main-1"}
    with pytest.raises(StudyBusyError):
        entered_together(ledger, clock, own="main-2", rival="main-1", stays=False)
    assert names(ledger) == {"main-1"}


def test_whoever_came_long_before_need_not_yield(ledger, clock):
    with pytest.raises(StudyBusyError):
        entered_together(ledger, clock, own="main-1", rival="main-2", stays=True)
    assert names(ledger) == {"main-2"}


def test_where_no_process_can_be_looked_up_the_lease_decides(ledger, clock):
    other, own = roster(ledger, clock, process="17@unknown"), roster(ledger, clock)
    other.enter()
    own.watch()
    clock.now_s += 10.1
    assert names(ledger) == {other.own.name}
    own.watch()
    assert names(ledger) == set()


def test_a_damaged_note_is_no_driver(ledger, clock):
    ledger.note("sessions", "odd", {"what": 1})
    assert list(roster(ledger, clock).others()) == []
    assert names(ledger) == set()


def test_a_block_is_whose_claimed_it_first(ledger, clock):
    one, two = roster(ledger, clock), roster(ledger, clock)
    one.enter()
    two.enter()
    first, second = Claims(ledger, one.own.name), Claims(ledger, two.own.name)
    assert first.claim(BLOCK, 1)
    assert not second.claim(BLOCK, 1)
    assert first.holds(BLOCK, 1) and not second.holds(BLOCK, 1)


def test_a_block_of_a_driver_that_is_gone_is_free(ledger, clock):
    one, two = roster(ledger, clock), roster(ledger, clock)
    one.enter()
    two.enter()
    first, second = Claims(ledger, one.own.name), Claims(ledger, two.own.name)
    first.claim(BLOCK, 1)
    one.leave()
    assert second.claim(BLOCK, 1)
    assert not first.holds(BLOCK, 1)  # and stops at its next checkpoint, if it still runs


def test_a_later_attempt_takes_a_block_from_an_earlier_one_and_not_the_other_way_round(ledger):
    claims = Claims(ledger, "main-1")
    assert claims.claim(BLOCK, 1) and claims.claim(BLOCK, 2)
    assert not claims.claim(BLOCK, 1)
    assert claims.holds(BLOCK, 2) and not claims.holds(BLOCK, 1)


def test_a_block_that_is_let_go_is_free(ledger, clock):
    one, two = roster(ledger, clock), roster(ledger, clock)
    one.enter()
    first, second = Claims(ledger, one.own.name), Claims(ledger, two.own.name)
    first.claim(BLOCK, 2)
    first.release(BLOCK, 1)
    second.release(BLOCK, 2)
    second.release_all([BLOCK])
    assert not second.claim(BLOCK, 1)
    first.release(BLOCK, 2)
    assert second.claim(BLOCK, 1)
    second.release_all([BLOCK, "cd" * 32])
    assert first.claim(BLOCK, 1)


def test_a_claim_is_gone_with_the_block(ledger):
    claims = Claims(ledger, "main-1")
    claims.claim(BLOCK, 1)
    ledger.complete(BLOCK, [], {}, {})
    assert not claims.holds(BLOCK, 1)
