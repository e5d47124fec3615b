"""Puts a sweep together: executor, tracker, progress, signals."""

import importlib.util
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dashboards.report import render_report
from orchestrator.databases import quick_commits
from orchestrator.home import Home
from orchestrator.joining import JoinReport, join_sweep
from orchestrator.ledger import Ledger
from orchestrator.objective import Objective
from orchestrator.provenance import provenance
from orchestrator.results import StudyResults
from orchestrator.spec import StudySpec
from orchestrator.study_record import StudyRecord
from orchestrator.surroundings import StopRequest, Surroundings, Watcher
from orchestrator.sweep import SweepReport, run_sweep
from orchestrator.tracking.background import BackgroundTracker
from orchestrator.tracking.mlflow_mirror import MlflowMirror
from orchestrator.tracking.patient import PatientTracker
from orchestrator.tracking.protocol import NullTracker, Tracker
from orchestrator.tracking.rebuilding import rebuild
from studies.analysis.tables import render_table
from studies.objectives.registry import OBJECTIVES
from studies.pools import PoolWish, Room, executor_maker, own_preparation, room_for, room_here
from studies.stopping import stopping_on_signals


class Ended(NamedTuple):
    """How a run in this process ended.

    Attributes:
        report: What became of the study.
        trouble: Why MLflow is not up to date, if it is not.
        exit_code: The process's, if it was interrupted.
    """

    report: SweepReport
    trouble: str | None
    exit_code: int


def run_study(
    spec: StudySpec, objective: Objective, home: Home, watcher: Watcher, wish: PoolWish
) -> Ended:
    """Run a study in this process.

    Args:
        spec: The study.
        objective: What it asks.
        home: Where everything is kept.
        watcher: Shows progress.
        wish: Where blocks run.

    Raises:
        InputError: If a cluster is wished for that cannot be joined, or fits not a single actor;
            nothing is written then.
    """
    with room_for(spec, wish) as room:
        mirror = MlflowMirror(home.mlflow_uri, home.artifacts)
        with BackgroundTracker(PatientTracker(mirror, time.monotonic)) as tracker:
            around = surroundings(spec, objective, home, watcher, tracker, wish, room)
            with stopping_on_signals(around.stop) as stopped:
                report = run_sweep(spec, objective, home, around)
    return Ended(report, tracker.trouble, stopped.exit_code)


def help_study(
    spec: StudySpec, objective: Objective, home: Home, watcher: Watcher, wish: PoolWish
) -> tuple[JoinReport, int]:
    """Run blocks of a study that another driver runs; arguments as for :func:`run_study`.

    Returns:
        What was done, and the process's exit code, if it was interrupted.

    Raises:
        InputError: If nobody runs the study, or another version of it.
    """
    wish = replace(wish, helps=True)
    with room_for(spec, wish) as room:
        around = surroundings(spec, objective, home, watcher, NullTracker(), wish, room)
        with stopping_on_signals(around.stop) as stopped:
            return join_sweep(spec, objective, Ledger(home.ledger), around), stopped.exit_code


def mirror_again(study: str, home: Home) -> int:
    """Rebuild a study in MLflow from the ledger.

    Args:
        study: Its name; nobody drives it.
        home: Has such a study.

    Returns:
        How many of its trials are mirrored.

    Raises:
        Exception: Whatever MLflow raises where it cannot be reached.
    """
    ledger = Ledger(home.ledger)
    memory = ledger.study(study)
    assert memory is not None
    record = StudyRecord.remembered(ledger, study, OBJECTIVES, home.cache)
    state = "interrupted" if memory["state"] == "running" else str(memory["state"])
    with quick_commits(home.path):
        return rebuild(record, state, MlflowMirror(home.mlflow_uri, home.artifacts), _artifacts)


def surroundings(
    spec: StudySpec,
    objective: Objective,
    home: Home,
    watcher: Watcher,
    tracker: Tracker,
    wish: PoolWish,
    room: Callable[[], Room] | None = None,
) -> Surroundings:
    """Put together what a sweep is given.

    Args:
        spec: The study.
        objective: What it asks.
        home: Where everything is kept.
        watcher: Shows progress.
        tracker: The mirror.
        wish: Where blocks run.
        room: Says what fits there; None looks at this machine when something has to run.
    """
    return Surroundings(
        make_executor=executor_maker(
            spec, objective, home, wish, room or (lambda: room_here(spec))
        ),
        tracker=tracker,
        watcher=watcher,
        stop=StopRequest(),
        tags=provenance(Path(__file__).parent),
        artifacts=_artifacts,
        backlog=lambda: tracker.backlog if isinstance(tracker, BackgroundTracker) else 0,
        prepare=own_preparation(spec, objective, home, wish),
    )


def _artifacts(results: StudyResults) -> Mapping[str, str]:
    """Draw what MLflow keeps with the study."""
    return {
        "table.md": render_table(results, "md"),
        "table.csv": render_table(results, "csv"),
        "table.json": render_table(results, "json"),
        "report.html": render_report(results),
    }


def bundled_specs() -> Path:
    """Return the folder of the study files that come with the package."""
    found = importlib.util.find_spec("studies.specs")
    assert found is not None and found.submodule_search_locations is not None
    return Path(next(iter(found.submodule_search_locations)))
