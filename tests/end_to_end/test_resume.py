"""Whatever is killed, the study ends with the records of an undisturbed run."""

import json
import signal
import sqlite3
from collections import Counter

import optuna
import psutil
import pytest
from command_line import kill_group
from mlflow import MlflowClient

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

IN_MID_BLOCK = "ledger/work/*/state-0000000[1-4].bin"  # of six edits, with a state after each


def attempts(home, what):
    """That figure of every complete block's attempt."""
    found = home.glob("ledger/blocks/*/*/attempt.json")
    return [json.loads(path.read_text())[what] for path in found]


def optuna_states(home):
    study = optuna.load_study(study_name="small", storage=f"sqlite:///{home / 'optuna.db'}")
    return Counter(trial.state.name for trial in study.trials)


def mlflow_runs(home):
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("small")
    return list(client.search_runs([experiment.experiment_id]))


def assert_whole(mpn, undisturbed):
    """The ledger, Optuna and MLflow agree with a run that nobody disturbed."""
    assert mpn.records() == undisturbed.records()
    assert optuna_states(mpn.home) == {"COMPLETE": 3}
    runs = mlflow_runs(mpn.home)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run not in parents]
    assert len(parents) == 1
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert sorted(run.data.tags["mpn.trial"] for run in children) == ["0", "1", "2"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    with sqlite3.connect(mpn.home / "mlflow.db") as database:
        doubled = database.execute(
            "select run_uuid, key, step, count(*) from metrics "
            "group by run_uuid, key, step having count(*) > 1"
        ).fetchall()
    assert doubled == []
    reference = {
        run.data.tags.get("mpn.trial"): run.data.metrics for run in mlflow_runs(undisturbed.home)
    }
    for run in runs:
        assert run.data.metrics == reference[run.data.tags.get("mpn.trial")]


def test_a_driver_killed_in_mid_study_is_continued(mpn, slow_study, undisturbed):
    driver = mpn.start("run", slow_study, "--actors", "2")
    mpn.wait_for("ledger/blocks/*/*/result.json", driver)
    kill_group(driver)
    finished = len(mpn.records())
    assert 0 < finished < 6

    mpn.run("run", slow_study, "--actors", "2")
    last_run = mpn.json("status", "small", "--json")["last_run"]
    assert last_run["blocks_reused"] >= finished
    assert last_run["blocks_executed"] == 6 - last_run["blocks_reused"]
    assert_whole(mpn, undisturbed)


@pytest.mark.slow
def test_a_block_whose_driver_was_killed_goes_on_from_its_checkpoint(mpn, slow_study, undisturbed):
    driver = mpn.start("run", slow_study, "--executor", "inline")
    mpn.freeze_at(IN_MID_BLOCK, driver)
    kill_group(driver)
    assert len(mpn.records()) < 6

    mpn("run", slow_study, "--executor", "inline")
    assert min(attempts(mpn.home, "units")) < 6  # one block did not begin at its beginning
    assert_whole(mpn, undisturbed)


@pytest.mark.slow
def test_an_actor_killed_in_mid_block_is_replaced(mpn, slow_study, undisturbed):
    driver = mpn.start("run", slow_study, "--actors", "2")
    mpn.wait_for(IN_MID_BLOCK, driver)
    actors = [
        process
        for process in psutil.Process(driver.pid).children(recursive=True)
        if "ray::_Actor" in " ".join(process.cmdline())
    ]
    actors[0].send_signal(signal.SIGKILL)
    out, err = driver.communicate(timeout=240)
    assert driver.returncode == 0, out + err
    last_run = mpn.json("status", "small", "--json")["last_run"]
    assert (last_run["blocks_executed"], last_run["blocks_reused"]) == (6, 0)
    assert set(attempts(mpn.home, "attempt")) == {1, 2}
    assert_whole(mpn, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "number", "code"),
    [
        (("--executor", "inline"), signal.SIGINT, 130),
        (("--executor", "inline"), signal.SIGTERM, 143),
        (("--actors", "1"), signal.SIGTERM, 143),  # Ray has a handler of its own for it
    ],
)
def test_an_interrupted_study_says_how_to_go_on(mpn, slow_study, undisturbed, words, number, code):
    driver = mpn.start("run", slow_study, *words)
    mpn.freeze_at(IN_MID_BLOCK, driver)
    driver.send_signal(number)
    driver.send_signal(signal.SIGCONT)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == code, out + err
    said = " ".join(err.split())
    assert "Interrupted; everything done is kept. Continue with: mpn run" in said
    status = mpn.json("status", "small", "--json")
    assert status["state"] == "interrupted"
    assert status["blocks"]["running"] == 0

    mpn("run", slow_study, "--executor", "inline")
    assert_whole(mpn, undisturbed)
