"""What a sweep costs beside its work: ``python -m benchmarks.sweep [--quick] [--json]``.

Two questions, each with real Ray actors, Optuna and MLflow on SQLite, and each case in a process
of its own: where the time of the quickstart study goes, and what the driver spends on a block of
work that takes no time, as studies grow to 10,000 blocks.
"""

import argparse
import itertools
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.trivial_work import TrivialObjective
from orchestrator.home import Home
from orchestrator.ledger import Ledger
from orchestrator.loading import load_study
from orchestrator.objective import Objective, Site
from orchestrator.plan import TrialPlan
from orchestrator.spec import StudySpec
from orchestrator.sweep import run_sweep
from orchestrator.tracking.mlflow_mirror import MlflowMirror
from orchestrator.tracking.patient import PatientTracker
from orchestrator.tracking.protocol import StudyHeader, TrialEnd, TrialHeader
from orchestrator.trials import Failure
from studies.pools import PoolWish
from studies.running import bundled_specs, surroundings

Row = dict[str, Any]

QUICK = ("base.streams.count=2", "base.streams.edits=4", "base.editor.optimizer.max_steps=50")
GROWTH = ((5, 4, 5), (20, 10, 5), (50, 40, 5), (10, 10, 100))  # values of two paths, streams
_MIB = 2**20
_SAMPLE_S = 0.2


@dataclass
class Meter:
    """A watcher that notes when the driver began to schedule, and when it had done so."""

    began: tuple[float, float] | None = None  # CPU and wall seconds
    ended: tuple[float, float] = (0.0, 0.0)

    def preparing(self, stage: str, done: int, total: int) -> None:
        """Nothing to note."""

    def progressed(self, n_units: int, total: int) -> None:
        """Note the time."""
        self.ended = (time.process_time(), time.time())
        self.began = self.began or self.ended

    def trial_ended(self, plan: TrialPlan, failure: Failure | None) -> None:
        """Nothing may fail here."""
        assert failure is None, failure


class TimedTracker(PatientTracker):
    """Adds up the wall and CPU seconds that the driver is inside the tracker."""

    spent_s = 0.0
    spent_cpu_s = 0.0

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began_s, cpu_s = time.monotonic(), time.thread_time()
        yield
        self.spent_s += time.monotonic() - began_s
        self.spent_cpu_s += time.thread_time() - cpu_s

    def open(self, study: StudyHeader) -> None:
        """Time the call."""
        with self._timed():
            super().open(study)

    def start_trial(self, trial: TrialHeader) -> None:
        """Time the call."""
        with self._timed():
            super().start_trial(trial)

    def finish_trial(self, trial: TrialHeader, end: TrialEnd) -> None:
        """Time the call."""
        with self._timed():
            super().finish_trial(trial, end)

    def finish_study(
        self,
        state: str,
        metrics: Mapping[str, Mapping[str, float]],
        artifacts: Mapping[str, str],
    ) -> None:
        """Time the call."""
        with self._timed():
            super().finish_study(state, metrics, artifacts)


def drive(spec: StudySpec, objective: Objective, folder: Path, actors: int) -> Row:
    """Run a study in this process, and say what the driver spent on it."""
    import orchestrator.executors.ray_pool  # noqa: F401  not the driver's doing, but Python's

    home, meter = Home(folder).make(), Meter()
    tracker = TimedTracker(MlflowMirror(home.mlflow_uri, home.artifacts), time.monotonic)
    wish = PoolWish("ray", actors)
    around = surroundings(spec, objective, home, meter, tracker, wish)
    cpu_s, began_s = time.process_time(), time.time()
    report = run_sweep(spec, objective, home, around)
    all_cpu_s, ended_s = time.process_time() - cpu_s, time.time()
    assert report.state == "done" and tracker.trouble is None, (report, tracker.trouble)
    assert meter.began is not None
    return {
        "blocks": report.last_run.blocks_executed,
        "began_s": began_s,
        "ended_s": ended_s,
        "driver_cpu_s": all_cpu_s,
        "scheduling_cpu_s": meter.ended[0] - meter.began[0],
        "tracking_s": tracker.spent_s,
        "tracking_cpu_s": tracker.spent_cpu_s,
        "driver_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def quickstart(folder: Path, actors: int, overrides: list[str]) -> Row:
    """Run the quickstart study, whose base model is there already, and split its time."""
    from studies.objectives.registry import OBJECTIVES  # large, and not for work without models

    spec = load_study(bundled_specs() / "quickstart.yaml", OBJECTIVES, overrides)
    driver = drive(spec, OBJECTIVES[spec.objective], folder, actors)
    began_s, ended_s = driver["began_s"], driver["ended_s"]
    ledger = Ledger(str(Home(folder).ledger))
    by_actor: dict[str, list[Mapping[str, Any]]] = {}
    for path in Path(ledger.uri).glob("blocks/*/*/attempt.json"):
        attempt = ledger.attempt(path.parent.name)
        by_actor.setdefault(attempt["worker"], []).append(attempt)
    last_s = max(one["finished_s"] for attempts in by_actor.values() for one in attempts)
    spent = dict.fromkeys(("starting", "working", "keeping", "waiting", "ending"), 0.0)
    shares, pauses = [], []
    for attempts in by_actor.values():
        attempts.sort(key=lambda attempt: attempt["started_s"])
        working_s = [attempt["working_s"] for attempt in attempts]
        inside_s = sum(one["finished_s"] - one["started_s"] for one in attempts)
        first, last = attempts[0], attempts[-1]
        spent["starting"] += first["started_s"] - began_s
        spent["working"] += sum(working_s)
        spent["keeping"] += inside_s - sum(working_s)
        spent["waiting"] += last["finished_s"] - first["started_s"] - inside_s
        spent["ending"] += ended_s - last["finished_s"]
        shares.append(sum(working_s[1:]) / (last_s - first["finished_s"]))
        pauses += [
            after["started_s"] - before["finished_s"]
            for before, after in itertools.pairwise(attempts)
        ]
    edits = sum(one["units"] for attempts in by_actor.values() for one in attempts)
    wall_s, total_s = ended_s - began_s, sum(spent.values())
    return {
        "case": "quickstart",
        "actors": len(by_actor),
        "edits": edits,
        "wall_s": wall_s,
        "edits_per_s": edits / wall_s,
        **{f"{name}_share": seconds / total_s for name, seconds in spent.items()},
        "tracking_s": driver["tracking_s"],
        "pause_ms": 1000 * sorted(pauses)[len(pauses) // 2],
        "longest_pause_ms": 1000 * max(pauses),
        "least_share_in_work": min(shares),
        "driver_cpu_s": driver["driver_cpu_s"],
        "driver_peak_mib": driver["driver_peak_mib"],
    }


def growth(folder: Path, first: int, second: int, streams: int) -> Row:
    """Run work that takes no time, and say what the driver spent on a block."""
    spec = StudySpec.model_validate(
        {
            "study": "trivial",
            "question": "What does a block cost?",
            "objective": "trivial",
            "base": {"streams": streams, "first": 0, "second": 0},
            "sweep": {"first": list(range(first)), "second": list(range(second))},
            "measure": {"primary": "score"},
            "budget": {"max_trials": first * second},
            "resources": {"gpus": 0.0},
        }
    )
    driver = drive(spec, TrivialObjective(), folder, 2)
    blocks = driver["blocks"]
    return {
        "case": "growth",
        "trials": first * second,
        "streams": streams,
        "blocks": blocks,
        "wall_s": driver["ended_s"] - driver["began_s"],
        "driver_cpu_s": driver["driver_cpu_s"],
        "driver_cpu_ms_per_block": 1000 * driver["driver_cpu_s"] / blocks,
        "scheduling_cpu_ms_per_block": 1000 * driver["scheduling_cpu_s"] / blocks,
        "tracking_cpu_ms_per_block": 1000 * driver["tracking_cpu_s"] / blocks,
        "driver_peak_mib": driver["driver_peak_mib"],
    }


def in_a_process(case: str, *words: object) -> Row:
    """Run a case in a fresh process, and watch how large its actors get."""
    with tempfile.TemporaryFile("w+") as out:
        command = [sys.executable, "-m", "benchmarks.sweep", "--case", case, *map(str, words)]
        process = subprocess.Popen(command, stdout=out)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _largest_actor(process.pid))
            time.sleep(_SAMPLE_S)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
        out.seek(0)
        found: Row = json.loads(out.read().splitlines()[-1])
    return found | {"actor_peak_mib": peak / _MIB}


def _largest_actor(driver: int) -> int:
    sizes = [0]
    try:
        for process in psutil.Process(driver).children(recursive=True):
            if "ray::_Actor" in " ".join(process.cmdline()[:1]):
                sizes.append(process.memory_info().rss)
    except psutil.Error:  # it has just ended
        pass
    return max(sizes)


def measure(folder: Path, *, quick: bool) -> Iterator[Row]:
    """Yield a row per case."""
    overrides = QUICK if quick else ()
    in_a_process("prepare", folder / "prepared")
    for actors in (1, 2):
        home = folder / f"quickstart-{actors}"
        shutil.copytree(folder / "prepared", home)
        yield in_a_process("quickstart", home, actors, *overrides)
    smallest: Row | None = None
    for number, sizes in enumerate(GROWTH[:2] if quick else GROWTH):
        row = in_a_process("growth", folder / f"growth-{number}", *sizes)
        smallest = smallest or row
        more = row["blocks"] - smallest["blocks"]
        grown = 1024 * (row["driver_peak_mib"] - smallest["driver_peak_mib"])
        yield row | {"growth_kib_per_block": grown / more if more else None}


def _prepare(folder: Path) -> None:
    """Build the quickstart study's base model."""
    from studies.objectives.registry import OBJECTIVES

    spec = load_study(bundled_specs() / "quickstart.yaml", OBJECTIVES)
    site = Site(Home(folder).make().cache, "cpu", 1)
    OBJECTIVES[spec.objective].prepare(spec.base, site, lambda stage, done, total: None)


def _table(rows: list[Row], columns: Mapping[str, str]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "| " + " | ".join("---:" for _ in columns) + " |"]
    for row in rows:
        cells = ("-" if (value := row[key.split(":")[0]]) is None else
                 format(value, key.split(":")[1]) for key in columns.values())  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def render(machine: str, rows: list[Row]) -> str:
    """Return the tables as Markdown."""
    shares = {name: f"{name}_share:.1%" for name in ("starting", "working", "keeping", "waiting")}
    first = _table(
        [row for row in rows if row["case"] == "quickstart"],
        {
            "actors": "actors:d",
            "wall s": "wall_s:.1f",
            "edits/s": "edits_per_s:.2f",
            **shares,
            "ending": "ending_share:.1%",
            "in work after first block": "least_share_in_work:.1%",
            "pause ms": "pause_ms:.0f",
            "longest": "longest_pause_ms:.0f",
            "tracking s": "tracking_s:.1f",
            "driver MiB": "driver_peak_mib:.0f",
            "actor MiB": "actor_peak_mib:.0f",
        },
    )
    second = _table(
        [row for row in rows if row["case"] == "growth"],
        {
            "trials": "trials:,",
            "streams": "streams:d",
            "blocks": "blocks:,",
            "wall s": "wall_s:.1f",
            "driver CPU s": "driver_cpu_s:.1f",
            "ms per block": "driver_cpu_ms_per_block:.2f",
            "while scheduling": "scheduling_cpu_ms_per_block:.2f",
            "in MLflow": "tracking_cpu_ms_per_block:.2f",
            "driver MiB": "driver_peak_mib:.0f",
            "KiB per block more": "growth_kib_per_block:.1f",
            "actor MiB": "actor_peak_mib:.0f",
        },
    )
    return f"{machine}\n\n{first}\n\n{second}"


def main() -> None:
    """Print the machine and the tables, or run one case of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small cases, to see that it runs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--case", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "RAY_USAGE_STATS_ENABLED": "0"}
    if chosen.case:
        case, folder, *words = chosen.case
        if case == "prepare":
            _prepare(Path(folder))
            print(json.dumps({}))
        elif case == "quickstart":
            print(json.dumps(quickstart(Path(folder), int(words[0]), words[1:])))
        else:
            print(json.dumps(growth(Path(folder), *map(int, words))))
        return
    processor = platform.processor() or platform.machine()
    machine = f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}"
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measure(Path(folder), quick=chosen.quick))
    print(json.dumps({"machine": machine, "rows": rows}) if chosen.json else render(machine, rows))


if __name__ == "__main__":
    main()
