"""An MLflow that was lost comes back from the ledger as it was."""

import shutil

import pytest
from mlflow import MlflowClient
from mlflow_view import shown
from sweep_lab import Killed, Lab, pruned_search, study
from toy_objective import ToyObjective

from orchestrator.home import Home
from orchestrator.services import Services
from orchestrator.study_record import StudyRecord
from orchestrator.tracking.mlflow_mirror import MlflowMirror
from orchestrator.tracking.rebuilding import rebuild

STUDY = study(
    sweep={"weight": [1.0, 2.0, 3.0]}, measure={"primary": "score", "baseline": {"weight": 2.0}}
)


@pytest.fixture(scope="module")
def empty_mlflow(tmp_path_factory):
    """A database with MLflow's tables; making them takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").create_experiment("another")
    return path


class MirroredLab(Lab):
    """A lab with an MLflow."""

    def __init__(self, folder, empty):
        super().__init__(folder)
        self.empty, self.n_lost = empty, 0
        self.lose_mlflow()

    def lose_mlflow(self):
        """Have an empty one from now on; MLflow keeps connections to the old one open."""
        self.n_lost += 1
        path = self.folder / f"mlflow-{self.n_lost}.db"
        shutil.copy(self.empty, path)
        shutil.rmtree(self.folder / "mlartifacts", ignore_errors=True)
        self.home = Home(self.folder, Services(mlflow=f"sqlite:///{path}"))

    @property
    def mirror(self):
        return MlflowMirror(self.home.mlflow_uri, self.home.artifacts)

    def run(self, spec, **options):
        return super().run(spec, tracker=self.mirror, artifacts=drawn, **options)

    def rebuild(self, state):
        record = StudyRecord.remembered(self.ledger, "a", {"toy": ToyObjective()}, self.home.cache)
        return rebuild(record, state, self.mirror, drawn)

    def shown(self, **options):
        return shown(self.home.mlflow_uri, "a", **options)


def drawn(results):
    return {"table.txt": repr([row.to_json() for row in results.rows()])}


@pytest.fixture
def lab(tmp_path, empty_mlflow):
    return MirroredLab(tmp_path, empty_mlflow)


def test_a_lost_mlflow_is_rebuilt_as_it_was(lab):
    lab.run(STUDY)
    before = lab.shown()
    assert set(before) == {"a", "0 weight=1.0", "1 weight=2.0", "2 weight=3.0"}
    assert before["a"]["artifacts"]["table.txt"].startswith("[{'trial': 0")
    assert before["2 weight=3.0"]["points"]["stream_1/score"][2][0] == 2
    assert "difference.score" in before["0 weight=1.0"]["points"]  # which ended before the baseline

    lab.lose_mlflow()
    assert lab.rebuild("done") == 3
    assert lab.shown() == before


def test_rebuilding_twice_changes_nothing(lab):
    lab.run(STUDY)
    lab.lose_mlflow()
    lab.rebuild("done")
    before = lab.shown(with_ids=True, with_times=True)
    lab.rebuild("done")
    assert lab.shown(with_ids=True, with_times=True) == before


def test_an_mlflow_that_lost_nothing_stays_as_it_is(lab):
    lab.run(STUDY)
    before = lab.shown(with_ids=True)
    lab.rebuild("done")
    assert lab.shown(with_ids=True) == before


def test_rebuilt_runs_began_and_ended_when_their_work_did(lab):
    lab.run(STUDY)
    ended_ms = {name: run["times"][1] for name, run in lab.shown(with_times=True).items()}
    lab.lose_mlflow()
    lab.rebuild("done")
    times = {name: run["times"] for name, run in lab.shown(with_times=True).items()}
    children = {name: span for name, span in times.items() if name != "a"}
    assert {name: end for name, (_, end) in children.items()}.items() <= ended_ms.items()
    assert all(begin <= end for begin, end in times.values())
    assert times["a"] == (
        min(b for b, _ in children.values()),
        max(e for _, e in children.values()),
    )


def test_failed_trials_come_back_with_their_reason(lab):
    spec = study(sweep={"raise_at": [None, 1]})
    assert lab.run(spec).state == "failed"
    before = lab.shown()
    failed = before["1 raise_at=1"]
    assert "the toy broke" in failed["tags"]["mpn.failure"] and failed["status"] == "FAILED"
    lab.lose_mlflow()
    lab.rebuild("failed")
    assert lab.shown() == before


def test_pruned_trials_come_back_as_such(lab):
    lab.run(pruned_search(trials=8, sampler="random"), checkpoint_every_s=0.0)
    assert "pruned" in lab.states
    before = lab.shown()
    lab.rebuild("done")
    assert lab.shown() == before  # what is there stays
    lab.lose_mlflow()
    lab.rebuild("done")
    assert lab.shown() == before


def test_a_study_that_was_interrupted_shows_what_had_begun(lab):
    lab.stop_at = 7  # in the first block of the second trial
    assert lab.run(STUDY).state == "interrupted"
    before = lab.shown()
    assert before["1 weight=2.0"]["status"] == "KILLED" and "2 weight=3.0" not in before
    lab.lose_mlflow()
    lab.rebuild("interrupted")
    assert lab.shown() == before


def test_trials_whose_driver_was_killed_before_it_noted_their_end_are_complete(lab):
    lab.kill_at = 17
    with pytest.raises(Killed):
        lab.run(STUDY)
    lab.lose_mlflow()
    lab.rebuild("interrupted")
    shown = lab.shown()
    assert shown["0 weight=1.0"]["status"] == shown["1 weight=2.0"]["status"] == "FINISHED"
    lab.run(STUDY)
    whole = lab.shown()
    lab.lose_mlflow()
    lab.rebuild("done")
    assert lab.shown() == whole
