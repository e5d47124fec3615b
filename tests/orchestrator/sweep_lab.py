"""A home in a folder, in which tests run studies of the toy objective."""

import time
from pathlib import Path

import fsspec
import optuna
from toy_objective import ToyObjective, toy_params

from orchestrator.executors.inline import InlineExecutor
from orchestrator.executors.replica import ReplicaPlan
from orchestrator.home import Home
from orchestrator.ledger import Ledger
from orchestrator.objective import Site
from orchestrator.results import StudyResults
from orchestrator.services import Services
from orchestrator.spec import StudySpec
from orchestrator.surroundings import StopRequest, Surroundings
from orchestrator.sweep import run_sweep
from orchestrator.tracking.protocol import NullTracker


class Killed(BaseException):
    """As if the process were gone."""


class DisorderedExecutor:
    """Takes several items; each ``poll`` runs one, first or last come as it is told."""

    def __init__(self, plan, *, slots, last_first):
        self._inner = InlineExecutor(plan)
        self._slots, self._pick = slots, -1 if last_first else 0
        self._waiting = []
        self.start, self.prepare = self._inner.start, self._inner.prepare
        self.ask_to_stop, self.close = self._inner.ask_to_stop, self._inner.close

    @property
    def free(self):
        return self._slots - len(self._waiting)

    @property
    def holds(self):
        return ("",) * self.free

    def launch(self, item):
        self._waiting.append(item)

    def abandon(self, block_id):
        raise AssertionError("nothing here is silent")

    def poll(self, timeout_s):
        if not self._waiting:
            return []
        self._inner.launch(self._waiting.pop(self._pick))
        return self._inner.poll(timeout_s)

    def progress(self):
        return {}

    @property
    def n_actors(self):
        return self._slots

    @property
    def model_loads(self):
        return self._inner.model_loads

    @property
    def telemetry(self):
        return self._inner.telemetry


class Watching:
    """Remembers what it was told."""

    def __init__(self, on_stage=lambda: None):
        self.stages, self.progress, self.ended, self.pruned = [], [], [], []
        self.on_stage = on_stage

    def preparing(self, stage, done, total):
        self.stages.append((stage, done, total))
        self.on_stage()

    def progressed(self, n_units, total):
        self.progress.append((n_units, total))

    def trial_pruned(self, plan, step):
        self.pruned.append((plan.number, step))

    def trial_ended(self, plan, failure):
        self.ended.append((plan.number, failure is None))


class Lab:
    """Runs studies in one home, and counts the units that run.

    ``stop_at`` and ``kill_at`` are counts of units after which, within the next run, the user
    asks to stop or the driver dies; both are forgotten afterwards. To stop at 0 is to stop while
    something is prepared.
    """

    def __init__(self, folder: Path, services: Services | None = None) -> None:
        self.folder = folder
        self.home = Home(folder, services or Services())
        self.units = []  # (stream, position) of each unit of the last run
        self.stop_at = self.kill_at = None
        self.watcher = Watching()
        self.meanwhile = lambda: None  # what happens elsewhere after each unit
        self.asked_for = []  # numbers of blocks that executors were made for

    @property
    def ledger(self):
        return Ledger(self.home.ledger)

    def run(
        self,
        spec,
        *,
        make=InlineExecutor,
        tracker=None,
        artifacts=lambda results: {},
        checkpoint_every_s=1.0,
        clock=time.monotonic,
    ):
        self.units, stop = [], StopRequest()
        self.watcher = Watching(lambda: stop.ask() if self.stop_at == 0 else None)

        def on_unit(stream, position):
            if len(self.units) == self.kill_at:
                raise Killed
            self.units.append((stream, position))
            self.meanwhile()
            if len(self.units) == self.stop_at:
                stop.ask()

        objective = ToyObjective(on_unit)

        def make_executor(n_blocks, session):
            self.asked_for.append(n_blocks)
            site = Site(self.home.cache, "cpu", 1)
            plan = ReplicaPlan(objective, self.home.ledger, site, checkpoint_every_s, session)
            return make(plan)

        around = Surroundings(
            make_executor=make_executor,
            tracker=tracker or NullTracker(),
            watcher=self.watcher,
            stop=stop,
            tags={},
            artifacts=artifacts,
            clock=clock,
            poll_s=0.0,
        )
        try:
            return run_sweep(spec, objective, self.home, around)
        finally:
            self.stop_at = self.kill_at = None

    @property
    def memory(self):
        memory = self.ledger.study("a")
        assert memory is not None
        return memory

    @property
    def states(self):
        """State of each trial, as the ledger remembers it."""
        return [trial["state"] for trial in self.memory["trials"]]

    @property
    def book(self):
        """The trials that Optuna has."""
        storage = optuna.storages.RDBStorage(self.home.optuna_uri)
        trials = optuna.load_study(study_name="a", storage=storage).trials
        storage.remove_session()
        storage.engine.dispose()
        return trials

    @property
    def book_states(self):
        return [trial.state.name for trial in self.book]

    @property
    def results(self):
        results = StudyResults.load(self.ledger, "a")
        assert results is not None
        return results

    def result_files(self):
        """All that the ledger holds of results, byte for byte."""
        return result_files(self.home.ledger)


def result_files(ledger):
    """The same of the ledger at a URI."""
    files, root = fsspec.core.url_to_fs(ledger)
    files.invalidate_cache()
    found = files.find(f"{root}/blocks") if files.exists(f"{root}/blocks") else []
    names = ("records.parquet", "result.json")
    return {
        path.removeprefix(f"{root}/blocks/"): files.cat_file(path)
        for path in found
        if path.rsplit("/", 1)[-1] in names
    }


def study(**sections):
    """A study of the toy objective; ``base`` holds what differs from its defaults."""
    return StudySpec.model_validate(
        {
            "study": "a",
            "question": "Does it?",
            "objective": "toy",
            "measure": {"primary": "score"},
            "retry": {"attempts": 3, "backoff_s": 0.0},
            **sections,
            "base": toy_params(**sections.get("base", {})),
        }
    )


def pruned_search(*, trials, sampler):
    """A search of which some trials are pruned, with a checkpoint after every unit."""
    return study(
        base={"streams": 2, "units": 4},
        search={
            "trials": trials,
            "sampler": sampler,
            "parallel": 2,
            "space": {"weight": {"low": 0.0, "high": 1.0}, "seed": {"low": 0, "high": 3}},
            "objectives": {"score": "maximize"},
            "pruner": {"name": "median", "startup_trials": 2, "warmup_steps": 1},
        },
        resources={"checkpoint_every_s": 0.0},
    )
