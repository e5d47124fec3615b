"""Puts a sweep together: executor, tracker, progress, signals."""

import importlib.util
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Literal

from dashboards.report import render_report
from orchestrator.executors.inline import InlineExecutor
from orchestrator.executors.protocol import Executor
from orchestrator.executors.replica import ReplicaPlan
from orchestrator.home import Home
from orchestrator.objective import Objective, Site
from orchestrator.provenance import provenance
from orchestrator.results import StudyResults
from orchestrator.spec import StudySpec
from orchestrator.surroundings import StopRequest, Surroundings, Watcher
from orchestrator.sweep import SweepReport, run_sweep
from orchestrator.tracking.background import BackgroundTracker
from orchestrator.tracking.mlflow_mirror import MlflowMirror
from orchestrator.tracking.patient import PatientTracker
from orchestrator.tracking.protocol import Tracker
from studies.analysis.tables import render_table

ExecutorName = Literal["ray", "inline"]


def run_study(
    spec: StudySpec,
    objective: Objective,
    home: Home,
    watcher: Watcher,
    *,
    executor: ExecutorName,
    actors: int | None,
) -> tuple[SweepReport, str | None]:
    """Run a study in this process.

    Args:
        spec: The study.
        objective: What it asks.
        home: Where everything is kept.
        watcher: Shows progress.
        executor: ``ray``, or ``inline`` for debugging.
        actors: Number of Ray actors; None takes the study's, or as many as there are GPUs,
            or else CPU cores.

    Returns:
        How it ended, and why MLflow is not up to date, if it is not.
    """
    home.make()
    mirror = MlflowMirror(home.mlflow_uri, home.artifacts)
    with BackgroundTracker(PatientTracker(mirror, time.monotonic)) as tracker:
        around = surroundings(
            spec, objective, home, watcher, tracker, executor=executor, actors=actors
        )
        with stopping_on_sigint(around.stop):
            report = run_sweep(spec, objective, home, around)
    return report, tracker.trouble


def surroundings(
    spec: StudySpec,
    objective: Objective,
    home: Home,
    watcher: Watcher,
    tracker: Tracker,
    *,
    executor: ExecutorName,
    actors: int | None,
) -> Surroundings:
    """Put together what a sweep is given; arguments as for :func:`run_study`."""
    return Surroundings(
        make_executor=_executor_maker(spec, objective, home, executor, actors),
        tracker=tracker,
        watcher=watcher,
        stop=StopRequest(),
        tags=provenance(Path(__file__).parent),
        artifacts=_artifacts,
        backlog=lambda: tracker.backlog if isinstance(tracker, PatientTracker) else 0,
    )


def n_gpus() -> int:
    """How many CUDA devices this machine has."""
    import torch  # slow to import, and needed only where something runs

    return torch.cuda.device_count()


def _executor_maker(
    spec: StudySpec, objective: Objective, home: Home, name: ExecutorName, actors: int | None
) -> Callable[[int, str], Executor]:
    resources = spec.resources

    def make(n_blocks: int, session: str) -> Executor:
        gpus = resources.gpus if resources.gpus is not None else float(n_gpus() > 0)
        device = "cuda" if gpus > 0 else "cpu"
        site = Site(home.cache.resolve(), device, resources.threads, resources.cache_gib)
        ledger, every_s = str(home.ledger.resolve()), resources.checkpoint_every_s
        logs = home.logs.resolve()
        plan = ReplicaPlan(objective, ledger, site, every_s, session, spec.study, logs)
        if name == "inline":
            return InlineExecutor(plan)
        # Ray takes seconds to import, and is not needed to say that nothing has to run.
        from orchestrator.executors.ray_pool import PoolSettings, RayExecutor

        fitting = int(n_gpus() / gpus) if gpus > 0 else int((os.cpu_count() or 1) / resources.cpus)
        wanted = actors or resources.actors or max(1, fitting)
        return RayExecutor(plan, PoolSettings(min(wanted, n_blocks), gpus, resources.cpus))

    return make


def _artifacts(results: StudyResults) -> Mapping[str, str]:
    """Draw what MLflow keeps with the study."""
    return {
        "table.md": render_table(results, "md"),
        "table.csv": render_table(results, "csv"),
        "table.json": render_table(results, "json"),
        "report.html": render_report(results),
    }


@contextmanager
def stopping_on_sigint(stop: StopRequest) -> Iterator[None]:
    """Stop at the next checkpoint on the first Ctrl-C, and at once on the second."""

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.ask()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def bundled_specs() -> Path:
    """Return the folder of the study files that come with the package."""
    found = importlib.util.find_spec("studies.specs")
    assert found is not None and found.submodule_search_locations is not None
    return Path(next(iter(found.submodule_search_locations)))
