import pytest

from orchestrator.tracking.patient import PatientTracker
from orchestrator.tracking.protocol import StudyHeader, TrialEnd, TrialHeader

STUDY = StudyHeader("a", "Is it?", None, "0" * 64, {})
END = TrialEnd(True, {"score": 1.0}, [], 1000, None)


def header(number):
    return TrialHeader(f"id{number}", number, f"t{number}", False, {}, {})


class FakeClock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


class Mirror:
    """Remembers its calls in order; raises ``error`` while there is one."""

    def __init__(self):
        self.calls = []
        self.tries = 0
        self.error = None

    def _take(self, *call):
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.calls.append(call)

    def open(self, study):
        self._take("open", study.name)

    def start_trial(self, trial):
        self._take("start", trial.number)

    def finish_trial(self, trial, end):
        self._take("finish", trial.number, end)

    def finish_study(self, state, metrics, artifacts):
        self._take("close", state, metrics, artifacts)


@pytest.fixture
def lab():
    clock, mirror = FakeClock(), Mirror()
    return clock, mirror, PatientTracker(mirror, clock, wait_s=10)


def test_calls_go_through_while_all_is_well(lab):
    _, mirror, tracker = lab
    tracker.open(STUDY)
    tracker.start_trial(header(0))
    tracker.finish_trial(header(0), END)
    tracker.finish_study("done", {"id0": {"difference.score": 0.5}}, {"table.md": "|"})
    assert mirror.calls == [
        ("open", "a"),
        ("start", 0),
        ("finish", 0, END),
        ("close", "done", {"id0": {"difference.score": 0.5}}, {"table.md": "|"}),
    ]
    assert tracker.trouble is None


def test_an_outage_is_not_raised_and_loses_no_call_and_no_order(lab):
    clock, mirror, tracker = lab
    mirror.error = ConnectionError("refused\nby the host")
    tracker.open(STUDY)
    tracker.start_trial(header(0))
    assert tracker.trouble == "ConnectionError: refused"

    mirror.error = None
    clock.now_s += 10
    tracker.start_trial(header(1))
    assert mirror.calls == [("open", "a"), ("start", 0), ("start", 1)]
    assert tracker.trouble is None


def test_the_tracker_is_left_alone_until_the_wait_is_over(lab):
    clock, mirror, tracker = lab
    mirror.error = ConnectionError("refused")
    tracker.open(STUDY)
    assert mirror.tries == 1

    clock.now_s += 9.999
    tracker.start_trial(header(0))
    assert mirror.tries == 1

    clock.now_s += 0.001  # exactly at the wait
    tracker.start_trial(header(1))
    assert mirror.tries == 2

    clock.now_s += 9.999  # the wait begins anew with each failure
    tracker.start_trial(header(2))
    assert mirror.tries == 2


def test_an_outage_in_the_middle_of_the_queue_repeats_only_what_failed(lab):
    clock, mirror, tracker = lab
    tracker.open(STUDY)
    mirror.error = ConnectionError("refused")
    tracker.start_trial(header(0))
    tracker.start_trial(header(1))
    mirror.error = None
    clock.now_s += 10
    tracker.finish_trial(header(0), END)
    assert mirror.calls == [("open", "a"), ("start", 0), ("start", 1), ("finish", 0, END)]


def test_the_end_of_the_study_is_a_last_try_for_all_that_waits(lab):
    _, mirror, tracker = lab
    mirror.error = ConnectionError("refused")
    tracker.open(STUDY)
    mirror.error = None
    tracker.finish_study("done", {}, {})  # no time has passed
    assert mirror.calls == [("open", "a"), ("close", "done", {}, {})]
    assert tracker.trouble is None


def test_what_could_not_be_mirrored_is_said_at_the_end(lab):
    _, mirror, tracker = lab
    mirror.error = ConnectionError("refused")
    tracker.open(STUDY)
    tracker.finish_study("done", {}, {})
    assert mirror.calls == []
    assert tracker.trouble == "ConnectionError: refused"


def test_an_error_that_says_nothing_is_told_by_its_name(lab):
    _, mirror, tracker = lab
    mirror.error = TimeoutError()
    tracker.open(STUDY)
    assert tracker.trouble == "TimeoutError"


def test_an_interrupt_of_the_user_is_not_an_outage(lab):
    _, mirror, tracker = lab
    mirror.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        tracker.open(STUDY)
