"""A run that logs itself: whatever is killed or away, MLflow ends with each value once."""

import shutil

import pytest
from mlflow import MlflowClient

from orchestrator.tracking.experiments import ensure_experiment, open_client
from orchestrator.tracking.single_run import RunHeader, SingleRun

HEADER = RunHeader(
    "trainings",
    "mine",
    {"lr": "0.1", "languages": "en,fr"},
    {"commit": "0123abc"},
    {"training": "a" * 64, "test": "b" * 64},
)


@pytest.fixture(scope="module")
def empty_mlflow(tmp_path_factory):
    """A database with MLflow's tables; making them takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    ensure_experiment(open_client(f"sqlite:///{path}"), "another", None)
    return path


class Lab:
    """An MLflow store, a work folder, and a clock that is wound by hand."""

    def __init__(self, folder, empty):
        self.folder, self.empty = folder, empty
        self.database = folder / "mlflow.db"
        self.time_s, self.each_look_s = 1_000.0, 0.0
        self.bring_back()

    def bring_back(self):
        shutil.copy(self.empty, self.database)

    def clock(self):
        self.time_s += self.each_look_s
        return self.time_s

    def run(self, work="work", header=HEADER):
        return SingleRun(
            f"sqlite:///{self.database}",
            self.folder / "mlartifacts",
            self.folder / work,
            header,
            self.clock,
            wait_s=10,
        )

    @property
    def runs(self):
        client = MlflowClient(f"sqlite:///{self.database}")
        experiment = client.get_experiment_by_name("trainings")
        return list(client.search_runs([experiment.experiment_id])) if experiment else []

    def points(self, metric):
        [run] = self.runs
        client = MlflowClient(f"sqlite:///{self.database}")
        history = client.get_metric_history(run.info.run_id, metric)
        return [(point.step, point.value, point.timestamp) for point in history]


@pytest.fixture
def lab(tmp_path, empty_mlflow):
    return Lab(tmp_path, empty_mlflow)


def test_a_run_says_what_it_was_told_and_what_it_found(lab):
    run = lab.run()
    run.log(10, {"loss": 0.5, "lr": 0.1})
    lab.time_s += 1
    run.log(20, {"loss": 0.25})
    run.finish("done", {"table.md": "| ü |"})
    [found] = lab.runs
    assert (found.info.run_name, found.info.status) == ("mine", "FINISHED")
    assert found.data.params == HEADER.params
    assert found.data.tags["commit"] == "0123abc"
    assert lab.points("loss") == [(10, 0.5, 1_000_000), (20, 0.25, 1_001_000)]
    assert {i.dataset.name for i in found.inputs.dataset_inputs} == {"training", "test"}
    [table] = lab.folder.glob("mlartifacts/trainings/*/artifacts/table.md")
    assert table.read_text() == "| ü |"
    assert run.trouble is None


def test_what_is_measured_again_after_a_kill_is_stored_once(lab):
    first = lab.run()
    first.log(10, {"loss": 0.5})
    first.log(20, {"loss": 0.25})
    [before] = lab.runs
    assert before.info.status == "RUNNING"
    lab.time_s += 60
    second = lab.run()
    second.log(20, {"loss": 0.25})  # from the checkpoint at 10
    second.log(30, {"loss": 0.125})
    second.finish("done")
    second.finish("done")
    [after] = lab.runs
    assert after.info.run_id == before.info.run_id
    expected = [(10, 0.5, 1_000_000), (20, 0.25, 1_000_000), (30, 0.125, 1_060_000)]
    assert lab.points("loss") == expected
    assert len(after.inputs.dataset_inputs) == 2


def test_an_interrupted_run_is_shown_so_until_it_goes_on(lab):
    first = lab.run()
    first.log(10, {"loss": 0.5})
    first.finish("interrupted")
    assert [run.info.status for run in lab.runs] == ["KILLED"]
    second = lab.run()
    second.log(20, {"loss": 0.25})
    assert [run.info.status for run in lab.runs] == ["RUNNING"]
    second.finish("failed")
    assert [run.info.status for run in lab.runs] == ["FAILED"]


def test_a_line_that_a_kill_cut_off_is_measured_again(lab):
    lab.run().log(10, {"loss": 0.5})
    journal = lab.folder / "work" / "points.jsonl"
    with journal.open("a") as file:
        file.write('{"metric": "loss", "val')
    lab.time_s += 1
    lab.run().log(20, {"loss": 0.25})
    assert len(journal.read_text().splitlines()) == 2
    assert lab.points("loss") == [(10, 0.5, 1_000_000), (20, 0.25, 1_001_000)]


@pytest.fixture
def outage(lab, monkeypatch):
    """MLflow is away; it says so at once instead of trying for a minute and a half."""
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)
    lab.database.unlink()
    lab.database.mkdir()

    def end():
        lab.database.rmdir()
        lab.bring_back()

    return end


def test_an_outage_reaches_nobody_and_is_made_up_for(lab, outage):
    run = lab.run()
    run.log(10, {"loss": 0.5})
    assert run.trouble is not None
    outage()
    lab.time_s += 9.5
    run.log(20, {"loss": 0.25})  # too soon to try again
    assert (lab.runs, run.trouble is None) == ([], False)
    lab.time_s += 0.5
    run.log(30, {"loss": 0.125})
    assert run.trouble is None
    assert [step for step, _, _ in lab.points("loss")] == [10, 20, 30]


def test_an_outage_that_takes_its_time_is_left_alone_for_longer(lab, outage):
    run = lab.run()
    lab.each_look_s = 2.0
    run.log(10, {"loss": 0.5})  # the attempt begins at 1004 s, fails at 1006 s
    lab.each_look_s = 0.0
    outage()
    lab.time_s = 1_025.5
    run.log(20, {"loss": 0.25})
    assert lab.runs == []
    lab.time_s = 1_026.0
    run.log(30, {"loss": 0.125})
    assert [step for step, _, _ in lab.points("loss")] == [10, 20, 30]


def test_a_lost_database_is_filled_again_from_the_journal(lab):
    first = lab.run()
    first.log(10, {"loss": 0.5})
    lab.database.unlink()
    lab.bring_back()
    lab.run().finish("done")
    assert lab.points("loss") == [(10, 0.5, 1_000_000)]


def test_other_settings_that_change_nothing_do_not_stop_a_run(lab):
    lab.run().log(10, {"loss": 0.5})
    moved = RunHeader("trainings", "mine", {"lr": "0.1", "languages": "en"}, {}, {})
    run = lab.run(header=moved)
    run.finish("done")
    assert run.trouble is None
    [found] = lab.runs
    assert found.data.params == HEADER.params


def test_another_folder_is_another_run(lab):
    lab.run().log(10, {"loss": 0.5})
    lab.run("another").log(10, {"loss": 0.5})
    assert len(lab.runs) == 2
