import io
from dataclasses import replace

from rich.console import Console

from orchestrator.live_status import Flight, Glimpse
from studies.watching import line, view, watch

STATES = {"waiting": 0, "running": 0, "complete": 0, "failed": 0}
GLIMPSE = Glimpse(
    study="small",
    unit="edits",
    state="running",
    trials={**STATES, "running": 1, "waiting": 2},
    blocks={**STATES, "running": 2, "waiting": 3, "complete": 1},
    units_done=12,
    units_missing=60,
    units_per_s=0.4,
    left_s=120.0,
    retries=1,
    lost={"ActorDiedError": 1},
    failures=(),
    in_flight=(Flight(0, (0, 1), 1, 4, 10), Flight(0, (2,), 2, 0, 10)),
    silent_s=0.0,
)
DONE = replace(
    GLIMPSE,
    state="failed",
    trials={**STATES, "complete": 2, "failed": 1},
    failures=((1, "RuntimeError: [red]no[/red]"),),
    in_flight=(),
    units_missing=0,
)


class Study:
    """Is seen as the test says, one after another."""

    def __init__(self, *glimpses):
        self.glimpses = list(glimpses)

    def look(self):
        return self.glimpses.pop(0)


def shown(*glimpses, terminal, every_s=2.0):
    slept = []
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)
    ended = watch(Study(*glimpses), console, every_s, slept.append)
    return ended, console.file.getvalue(), slept


def drawn(glimpse):
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(view(glimpse))
    return console.file.getvalue()


def test_a_line_says_all_that_changes():
    assert line(GLIMPSE) == (
        "small running: trials 2 waiting, 1 running; blocks 3 waiting, 2 running, 1 complete; "
        "12 of 60 edits, 0.4 edits/s, about 2 min left; 1 retries"
    )
    assert line(DONE).endswith("; trial 1: RuntimeError: [red]no[/red]")


def test_without_a_terminal_there_is_a_line_a_change_until_the_study_ends():
    faster = replace(GLIMPSE, units_done=13, units_per_s=0.5)  # no change worth a line
    further = replace(faster, blocks={**STATES, "complete": 6})
    ended, text, slept = shown(GLIMPSE, GLIMPSE, faster, further, DONE, terminal=False)
    assert ended is DONE
    assert text.splitlines() == [line(GLIMPSE), line(further), line(DONE)]
    assert slept == [2.0] * 4


def test_a_study_that_has_ended_is_shown_once():
    _, text, slept = shown(DONE, terminal=False)
    assert text.splitlines() == [line(DONE)]
    assert slept == []


def test_on_a_terminal_the_view_is_drawn_anew_until_the_study_ends():
    _, text, slept = shown(GLIMPSE, DONE, terminal=True, every_s=0.5)
    assert "small: running" in text
    assert "small: failed" in text
    assert slept == [0.5]


def test_the_view_has_counts_rate_retries_and_what_runs():
    rows = drawn(GLIMPSE).splitlines()
    assert rows[0] == "small: running"
    assert rows[1].split() == ["trials", "2", "waiting,", "1", "running"]
    assert "12 of 60, 0.4 edits/s, about 2 min left" in rows[3]
    assert "1; lost: 1 ActorDiedError" in rows[4]
    assert rows[5].startswith("trial 0  streams 0, 1")
    assert rows[5].rstrip().endswith("4 of 10")
    assert "streams 2, attempt 2" in rows[6]


def test_failures_stand_in_the_view_as_they_are():
    assert "trial 1: RuntimeError: [red]no[/red]" in drawn(DONE)


def test_a_view_of_many_is_cut():
    many = replace(
        GLIMPSE,
        failures=tuple((number, "E: no") for number in range(15)),
        in_flight=tuple(Flight(number, (0,), 1, 0, 10) for number in range(14)),
    )
    assert "and 3 more" in drawn(many)
    assert "and 2 more" in drawn(many)
    assert len(drawn(many).splitlines()) < 35


def test_a_silent_driver_is_said_in_whole_minutes():
    assert "silent" not in line(replace(GLIMPSE, silent_s=29.9))
    assert "(silent for half a minute)" in line(replace(GLIMPSE, silent_s=30.0))
    assert "(silent for 2 min)" in line(replace(GLIMPSE, silent_s=179.0))
    assert "silent" not in line(replace(DONE, silent_s=179.0))
