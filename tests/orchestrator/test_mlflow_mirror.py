import shutil
from dataclasses import replace

import pytest
from mlflow import MlflowClient

from orchestrator.objective import Point
from orchestrator.timed_points import TimedPoint
from orchestrator.tracking.mlflow_mirror import MlflowMirror
from orchestrator.tracking.protocol import StudyHeader, TrialEnd, TrialHeader

STUDY = StudyHeader("a", "Is it?", "Yes.", "d" * 64, {"commit": "0123abc"})
TRIALS = [
    TrialHeader("id0", 0, "weight=1", True, {"weight": "1", "base.layer": "3"}, {"toy": "f" * 64}),
    TrialHeader("id1", 1, "weight=2", False, {"weight": "2", "base.layer": "3"}, {"toy": "f" * 64}),
]
POINTS = [
    TimedPoint(Point(0, "score", 0, 0.25), 1_000),
    TimedPoint(Point(0, "score", 1, 0.5), 2_000),
    TimedPoint(Point(1, "score", 0, 0.75), 3_000),
]
END = TrialEnd(True, {"score": 0.5, "score.low": 0.25, "score/ru": 0.4}, POINTS, 4_000, None)
FAILED = TrialEnd(False, {}, POINTS[:1], 1_000, "RuntimeError: no\nTraceback ...")


@pytest.fixture(scope="module")
def empty_mlflow(tmp_path_factory):
    """A database with MLflow's tables; making them takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowMirror(f"sqlite:///{path}", None).open(replace(STUDY, name="another"))
    return path


class Store:
    """An MLflow store, and what is in it."""

    def __init__(self, folder, empty):
        self.uri = f"sqlite:///{shutil.copy(empty, folder / 'mlflow.db')}"
        self.artifacts = folder / "mlartifacts"
        self.client = MlflowClient(tracking_uri=self.uri)

    def mirror(self, study=STUDY):
        mirror = MlflowMirror(self.uri, self.artifacts)
        mirror.open(study)
        return mirror

    @property
    def runs(self):
        """All runs of the study, by name."""
        experiment = self.client.get_experiment_by_name("a")
        found = self.client.search_runs([experiment.experiment_id])
        assert len({run.info.run_name for run in found}) == len(found)
        return {run.info.run_name: run for run in found}

    def points(self, name, metric):
        history = self.client.get_metric_history(self.runs[name].info.run_id, metric)
        return [(point.step, point.value, point.timestamp) for point in history]

    def contents(self):
        """Everything that shows, but for the ids."""
        found = {}
        for name, run in self.runs.items():
            data = {metric: self.points(name, metric) for metric in run.data.metrics}
            inputs = [(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs]
            tags = {k: v for k, v in run.data.tags.items() if k != "mlflow.parentRunId"}
            found[name] = (run.info.status, run.data.params, tags, data, inputs)
        return found


@pytest.fixture
def store(tmp_path, empty_mlflow):
    return Store(tmp_path, empty_mlflow)


def mirror_all(mirror):
    for trial in TRIALS:
        mirror.start_trial(trial)
        mirror.finish_trial(trial, END)
    mirror.finish_study("done", {"id1": {"difference.score": 0.125}}, {"table.md": "| ü |"})


def test_a_study_is_a_parent_run_that_says_what_is_asked(store):
    store.mirror()
    [parent] = store.runs.values()
    assert parent.info.run_name == "a"
    assert parent.info.status == "RUNNING"
    assert parent.data.tags["mlflow.note.content"] == "Is it?\n\nExpected: Yes."
    assert parent.data.tags["commit"] == "0123abc"


def test_a_trial_is_a_child_run_with_parameters_and_data(store):
    store.mirror().start_trial(TRIALS[0])
    runs = store.runs
    child = runs["0 weight=1"]
    assert child.info.status == "RUNNING"
    assert child.data.tags["mlflow.parentRunId"] == runs["a"].info.run_id
    assert child.data.params == {"weight": "1", "base.layer": "3"}
    assert (child.data.tags["mpn.trial"], child.data.tags["mpn.baseline"]) == ("0", "true")
    [data] = child.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("toy", "f" * 36)


def test_curves_and_values_keep_the_time_at_which_they_were_measured(store):
    mirror = store.mirror()
    mirror.finish_trial(TRIALS[0], END)
    assert store.points("0 weight=1", "stream_0/score") == [(0, 0.25, 1_000), (1, 0.5, 2_000)]
    assert store.points("0 weight=1", "stream_1/score") == [(0, 0.75, 3_000)]
    assert store.points("0 weight=1", "score") == [(0, 0.5, 4_000)]
    child = store.runs["0 weight=1"]
    assert child.data.metrics["score/ru"] == 0.4
    assert (child.info.status, child.info.end_time) == ("FINISHED", 4_000)


def test_the_end_of_a_study_brings_differences_and_files(store):
    mirror_all(store.mirror())
    assert store.points("1 weight=2", "difference.score") == [(0, 0.125, 4_000)]
    parent = store.runs["a"]
    assert parent.info.status == "FINISHED"
    [path] = store.artifacts.rglob("table.md")
    assert path.read_text() == "| ü |"
    assert [f.path for f in store.client.list_artifacts(parent.info.run_id)] == ["table.md"]


@pytest.mark.parametrize(
    ("state", "status"), [("done", "FINISHED"), ("failed", "FAILED"), ("interrupted", "KILLED")]
)
def test_the_parent_ends_as_the_study_does(store, state, status):
    store.mirror().finish_study(state, {}, {})
    assert store.runs["a"].info.status == status


def test_a_difference_that_came_with_its_trial_is_not_logged_twice(store):
    values = {"difference.score": 0.125}
    end = replace(END, metrics={**END.metrics, **values})
    mirror = store.mirror()
    mirror.finish_trial(TRIALS[1], end)
    mirror.finish_trial(TRIALS[0], replace(END, timestamp_ms=9_000))
    mirror.finish_study("done", {"id1": values}, {})
    mirror = store.mirror()
    mirror.finish_study("done", {"id1": values}, {})
    assert store.points("1 weight=2", "difference.score") == [(0, 0.125, 4_000)]


# -- repetitions --------------------------------------------------------------------------


def test_repeated_calls_leave_what_one_call_leaves(store):
    mirror = store.mirror()
    mirror_all(mirror)
    before = store.contents()
    assert len(before) == 3
    mirror_all(mirror)
    assert store.contents() == before


def test_a_later_process_continues_the_same_runs(store):
    first = store.mirror()
    first.finish_trial(TRIALS[0], END)
    first.start_trial(TRIALS[1])
    ids = {name: run.info.run_id for name, run in store.runs.items()}

    mirror_all(store.mirror())
    assert {name: run.info.run_id for name, run in store.runs.items()} == ids
    assert {run.info.status for run in store.runs.values()} == {"FINISHED"}
    before = store.contents()
    mirror_all(store.mirror())
    assert store.contents() == before


def test_another_definition_is_another_parent(store):
    mirror_all(store.mirror())
    other = store.mirror(replace(STUDY, definition="e" * 64))
    other.start_trial(replace(TRIALS[0], trial_id="id9", label="weight=9"))
    experiment = store.client.get_experiment_by_name("a")
    found = store.client.search_runs([experiment.experiment_id])
    parents = {run.info.run_id: run for run in found if "mpn.trial" not in run.data.tags}
    children = [run for run in found if "mpn.trial" in run.data.tags]
    assert len(parents) == 2
    definitions = {
        run.data.tags["mpn.label"]: parents[run.data.tags["mlflow.parentRunId"]].data.tags[
            "mpn.definition"
        ]
        for run in children
    }
    assert definitions == {"weight=1": "d" * 64, "weight=2": "d" * 64, "weight=9": "e" * 64}


def test_what_a_killed_driver_left_running_under_another_definition_is_ended(store):
    store.mirror().start_trial(TRIALS[0])  # and then it was killed
    store.mirror(replace(STUDY, definition="e" * 64))
    experiment = store.client.get_experiment_by_name("a")
    found = store.client.search_runs([experiment.experiment_id])
    states = [(run.data.tags["mpn.definition"][0], run.info.status) for run in found]
    assert sorted(states) == [("d", "KILLED"), ("d", "KILLED"), ("e", "RUNNING")]


def test_a_study_that_was_deleted_in_the_ui_is_mirrored_anew(store):
    store.mirror()
    experiment = store.client.get_experiment_by_name("a")
    store.client.delete_experiment(experiment.experiment_id)
    mirror_all(store.mirror())
    assert set(store.runs) >= {"0 weight=1", "1 weight=2"}


# -- failures -----------------------------------------------------------------------------


def test_a_failed_trial_says_why(store):
    store.mirror().finish_trial(TRIALS[0], FAILED)
    child = store.runs["0 weight=1"]
    assert child.info.status == "FAILED"
    assert child.data.tags["mpn.failure"] == "RuntimeError: no\nTraceback ..."
    assert store.points("0 weight=1", "stream_0/score") == [(0, 0.25, 1_000)]


def test_a_failed_trial_that_goes_well_later_is_the_same_run_without_the_failure(store):
    store.mirror().finish_trial(TRIALS[0], FAILED)
    store.mirror().finish_trial(TRIALS[0], END)
    child = store.runs["0 weight=1"]
    assert (child.info.status, child.info.end_time) == ("FINISHED", 4_000)
    assert "mpn.failure" not in child.data.tags
    assert store.points("0 weight=1", "stream_0/score") == [(0, 0.25, 1_000), (1, 0.5, 2_000)]


class StoreOutageError(Exception):
    """What stands for any error of a store."""


@pytest.mark.parametrize(
    "call", ["create_run", "log_inputs", "log_batch", "set_terminated", "set_tag"]
)
@pytest.mark.parametrize("by", ["the same mirror", "a later process"])
def test_an_outage_in_the_middle_of_a_trial_leaves_nothing_out(store, monkeypatch, call, by):
    store.mirror().finish_trial(TRIALS[0], END)
    expected = store.contents()["0 weight=1"]
    mirror = store.mirror()

    def fail(*args, **kwargs):
        raise StoreOutageError

    with monkeypatch.context() as patch, pytest.raises(StoreOutageError):
        patch.setattr(mirror._client, call, fail)
        mirror.finish_trial(TRIALS[1], END)
    if by == "a later process":
        mirror = store.mirror()
    mirror.finish_trial(TRIALS[1], END)

    status, params, _, data, inputs = store.contents()["1 weight=2"]
    assert (status, data, inputs) == (expected[0], expected[3], expected[4])
    assert params == TRIALS[1].params
    before = store.contents()
    store.mirror().finish_trial(TRIALS[1], END)
    assert store.contents() == before


# -- sizes --------------------------------------------------------------------------------


def test_more_than_fits_one_request_is_logged_whole(store):
    params = {f"p{number}": str(number) for number in range(150)}
    points = [TimedPoint(Point(0, "score", step, step / 8), 1_000 + step) for step in range(2_500)]
    mirror = store.mirror()
    mirror.finish_trial(replace(TRIALS[0], params=params), replace(END, points=points))
    assert len(store.points("0 weight=1", "stream_0/score")) == 2_500
    assert len(store.runs["0 weight=1"].data.params) == 150


def test_a_long_failure_is_cut(store):
    mirror = store.mirror()
    mirror.finish_trial(TRIALS[0], replace(FAILED, failure="x" * 20_000))
    assert store.runs["0 weight=1"].data.tags["mpn.failure"] == "x" * 5_000


def test_a_pruned_trial_is_no_failure_and_has_a_curve_but_no_result(store):
    mirror = store.mirror()
    pruned = TrialEnd(False, {}, POINTS[:1], 1_000, None, pruned=True)
    mirror.finish_trial(TRIALS[1], pruned)
    mirror.finish_study("done", {}, {})
    child = store.runs["1 weight=2"]
    assert (child.info.status, child.info.end_time) == ("KILLED", 1_000)
    assert child.data.tags["mpn.state"] == "pruned"
    assert "mpn.failure" not in child.data.tags
    assert list(child.data.metrics) == ["stream_0/score"]
    assert store.runs["a"].info.status == "FINISHED"

    before = store.contents()
    again = store.mirror()
    again.finish_trial(TRIALS[1], pruned)
    again.finish_study("done", {}, {})
    assert store.contents() == before
    again.finish_trial(TRIALS[0], END)
    assert store.runs["0 weight=1"].data.tags["mpn.state"] == "complete"
