from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.logs import worker_name
from orchestrator.trials import Failure
from studies.commands.failures import failure_lines

HOST = worker_name().rpartition(":")[0]
FAILURE = Failure(
    trial=3,
    attempt=2,
    attempts=3,
    reason="RuntimeError: it\nbroke",
    worker=f"{HOST}:12",
    details="Traceback ...",
    streams=(0, 1),
    position=7,
    units=22,
    log="/home/logs/small-12.log",
    why_final="what was raised would be raised again",
)


def said(**changes):
    failure = replace(FAILURE, **changes)
    again = "mpn run small.yaml"
    return failure_lines(
        "small", failure, log=Path("/home/logs/small.log"), unit="edits", again=again
    ).splitlines()


def test_a_failed_trial_is_explained_in_six_lines():
    assert said() == [
        "trial 3 of small failed",
        "  attempt   2 of 3",
        "  cause     RuntimeError: it broke, after 7 of 22 edits of streams 0, 1",
        f"  worker    {HOST}:12",
        "  log path  /home/logs/small-12.log",
        "  retried   no: what was raised would be raised again; mend it and resume with: "
        "mpn run small.yaml",
    ]


def test_a_log_on_another_machine_is_named_with_it():
    assert said(worker="node7:12")[4] == "  log path  node7:/home/logs/small-12.log"


@pytest.mark.parametrize("position", [None, 0])
def test_a_trial_whose_worker_is_gone_is_explained_with_what_is_known(position):
    lines = said(worker="", log="", position=position, streams=(4,), why_final="the last attempt")
    where = "somewhere in" if position is None else "after 0 of"
    assert lines[2:5] == [
        f"  cause     RuntimeError: it broke, {where} 22 edits of stream 4",
        "  worker    gone before it said which",
        "  log path  /home/logs/small.log",
    ]
