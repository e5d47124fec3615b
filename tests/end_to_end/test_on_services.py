"""Studies on PostgreSQL, an MLflow server and S3: the same records, whole, and without secrets."""

import json
import os
import signal
import uuid
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
import ray
import toy_objective
from command_line import CommandLine, kill_group
from mlflow import MlflowClient
from mlflow_view import shown
from ray.cluster_utils import Cluster
from servers import PASSWORD, S3_SECRET
from sweep_lab import Lab, result_files
from sweep_lab import study as toy_study
from toy_objective import ToyObjective, ToyWorker

from orchestrator.executors.ray_pool import PoolSettings, RayExecutor
from orchestrator.ledger import Ledger
from orchestrator.services import Services
from orchestrator.tracking.mlflow_mirror import MlflowMirror
from studies.objectives.registry import OBJECTIVES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.services,
    pytest.mark.ray,
    pytest.mark.timeout(600),
]

IN_MID_BLOCK = "ledger/work/*/state-0000000[1-4].bin"
GRID = toy_study(sweep={"weight": [1.0, 2.0, 3.0]}, base={"units": 4})
SEARCH = toy_study(
    search={
        "trials": 8,
        "parallel": 2,
        "sampler": "tpe",
        "seed": 3,
        "space": {"weight": {"low": 0.1, "high": 2.0}},
        "objectives": {"score": "maximize"},
    }
)


class OnServices(CommandLine):
    """Runs mpn in a home of which services keep what they can."""

    def __init__(self, home, services):
        super().__init__(home)
        self.services = services

    def start(self, *words, **options):
        return super().start(*words, *self._options, **options)

    def __call__(self, *words, code=0):
        return super().__call__(*words, *self._options, code=code)

    @property
    def _options(self):
        uris = vars(self.services).items()
        return [word for name, uri in uris if uri for word in (f"--{name}", uri)]

    def result_files(self):
        return result_files(self.services.ledger)


@pytest.fixture
def services(postgres, s3, mlflow_server):
    """Places that nobody has used, but for the MLflow server, which is everybody's."""
    return Services(s3.fresh_uri(), postgres.fresh_uri(), mlflow_server.uri)


@pytest.fixture
def fresh_mlflow(mlflow_server, postgres, s3):
    """The server with no study in it; call it to have it lose all that it has."""
    client = MlflowClient(mlflow_server.uri)
    for experiment in client.search_experiments():
        client.rename_experiment(experiment.experiment_id, uuid.uuid4().hex)

    def lose():
        mlflow_server.stop()
        mlflow_server.database, mlflow_server.artifacts = postgres.fresh_uri(), s3.fresh_uri()
        mlflow_server.start()

    return lose


def on_ray(plan):
    plan = replace(plan, objective=ToyObjective())  # the lab's counts units, in one process
    return RayExecutor(plan, PoolSettings(2, gpus=0, cpus=0.1))


@pytest.fixture
def _workers_find_the_toy(monkeypatch):
    folders = [str(Path(toy_objective.__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))


# -- runs wholly on services --------------------------------------------------------------


@pytest.mark.usefixtures("_workers_find_the_toy")
@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_a_study_on_services_has_the_records_of_one_in_a_folder(
    executor, services, fresh_mlflow, tmp_path
):
    here, there = Lab(tmp_path / "here"), Lab(tmp_path / "there", services)
    here.run(GRID)
    options = {"make": on_ray} if executor == "ray" else {}
    mirror = MlflowMirror(there.home.mlflow_uri, there.home.artifacts)
    report = there.run(GRID, tracker=mirror, artifacts=lambda r: {"t.txt": "found"}, **options)
    assert report.state == "done"
    assert there.result_files() == here.result_files() != {}
    assert there.book_states == ["COMPLETE"] * 3
    runs = shown(services.mlflow, "a")
    assert set(runs) == {"a", "0 weight=1.0", "1 weight=2.0", "2 weight=3.0"}
    assert runs["a"]["artifacts"] == {"t.txt": "found"}
    assert runs["1 weight=2.0"]["params"]["weight"] == "2.0"
    assert len(runs["1 weight=2.0"]["points"]["stream_0/score"]) == 4
    left = {path.name for path in there.folder.iterdir()}
    assert left.isdisjoint({"ledger", "optuna.db", "mlflow.db", "mlartifacts"})


def test_a_search_on_services_chooses_what_it_chooses_in_a_folder(services, tmp_path):
    here, there = Lab(tmp_path / "here"), Lab(tmp_path / "there", services)
    here.run(SEARCH)
    there.stop_at = 10
    assert there.run(SEARCH).state == "interrupted"
    assert there.run(SEARCH).state == "done"
    assert there.result_files() == here.result_files()
    assert [(t.params, t.values) for t in there.book] == [(t.params, t.values) for t in here.book]


def without_times(run):
    """What does not depend on when a run was."""
    points = {name: [point[:2] for point in curve] for name, curve in run["points"].items()}
    return run["params"], run["inputs"], run["parent"], points


def artifacts_of(store_uri):
    files, root = fsspec.core.url_to_fs(store_uri)
    files.invalidate_cache()
    return {path.rsplit("/", 1)[-1] for path in files.find(root)}


@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_an_editing_study_runs_wholly_on_services_and_a_lost_mlflow_is_rebuilt(
    executor, services, fresh_mlflow, mlflow_server, slow_study, undisturbed, tmp_path
):
    mpn = OnServices(tmp_path / "home", services)
    if executor == "ray":
        mpn.run("run", slow_study, "--actors", "2")
    else:
        mpn("run", slow_study, "--executor", "inline")
    assert mpn.result_files() == result_files(str(undisturbed.home / "ledger"))
    assert mpn.json("status", "small", "--json")["trials"]["complete"] == 3
    rows = mpn.json("table", "small", "--format", "json")
    assert rows == undisturbed.json("table", "small", "--format", "json")
    before = shown(services.mlflow, "small")
    reference = shown(f"sqlite:///{undisturbed.home / 'mlflow.db'}", "small")
    assert before.keys() == reference.keys()
    for name, run in before.items():
        assert (run["params"], run["inputs"]) == (
            reference[name]["params"],
            reference[name]["inputs"],
        )
        values = {k: [point[:2] for point in v] for k, v in run["points"].items()}
        assert values == {
            k: [point[:2] for point in v] for k, v in reference[name]["points"].items()
        }
    assert {"table.md", "report.html"} <= artifacts_of(mlflow_server.artifacts)
    left = {path.name for path in mpn.home.iterdir()}
    assert left.isdisjoint({"ledger", "optuna.db", "mlflow.db", "mlartifacts"})

    fresh_mlflow()  # which has lost everything
    mpn("sync", "small")
    assert shown(services.mlflow, "small") == before
    again = shown(services.mlflow, "small", with_ids=True, with_times=True)
    mpn("sync")
    assert shown(services.mlflow, "small", with_ids=True, with_times=True) == again


# -- moving -------------------------------------------------------------------------------


@pytest.fixture
def two_nodes(s3):
    """A cluster of two nodes with a CPU each; their processes find S3 by their environment."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def under_way(mpn):
    """Blocks that have a checkpoint and no records yet."""
    return {path.parent.name for path in mpn.home.glob(IN_MID_BLOCK)} - set(mpn.records())


def test_a_study_that_was_interrupted_here_is_finished_on_a_cluster_with_the_same_records(
    services, fresh_mlflow, two_nodes, slow_study, undisturbed, tmp_path
):
    here = CommandLine(tmp_path / "here")
    driver = here.start("run", slow_study, "--executor", "inline")
    here.wait_for("ledger/blocks/*/*/result.json", driver)
    while not under_way(here):  # what is frozen may be the end of a block, too
        driver.send_signal(signal.SIGCONT)
        here.freeze_at(IN_MID_BLOCK, driver)
    kill_group(driver)
    archive = tmp_path / "small.tar"
    here("export", "small", archive)
    done_here = len(here.records())
    assert 0 < done_here < 6

    there = OnServices(tmp_path / "there", services)
    there("import", archive)
    assert there.json("status", "small", "--json")["blocks"]["complete"] == done_here
    there.run("resume", "small", "--address", two_nodes.address, "--actors", "2")
    assert there.result_files() == result_files(str(undisturbed.home / "ledger"))
    last_run = there.json("status", "small", "--json")["last_run"]
    assert last_run["blocks_executed"] == 6 - done_here
    assert last_run["blocks_reused"] == done_here
    ledger = Ledger(services.ledger)
    blocks = {path.split("/")[1] for path in there.result_files()}
    attempts = [ledger.attempt(block) for block in blocks]
    assert min(attempt["units"] for attempt in attempts) < 6  # one went on from its checkpoint
    assert set(shown(services.mlflow, "small")) == set(
        shown(f"sqlite:///{undisturbed.home / 'mlflow.db'}", "small")
    )


def test_a_damaged_archive_is_refused_whole_by_the_command(services, undisturbed, tmp_path):
    archive = tmp_path / "small.tar"
    undisturbed("export", "small", archive)
    data = archive.read_bytes()
    archive.write_bytes(data[: len(data) // 2] + b"x" + data[len(data) // 2 + 1 :])
    there = OnServices(tmp_path / "there", services)
    assert "Nothing was imported." in there("import", archive, code=2)
    assert fsspec.core.url_to_fs(services.ledger)[0].find(services.ledger) == []


# -- secrets ------------------------------------------------------------------------------

MLFLOW_PASSWORD = "p%40per-clip"
SECRETS = (PASSWORD, S3_SECRET, MLFLOW_PASSWORD, "p@per-clip")


class LeakyWorker(ToyWorker):
    """Raises what a client of a service might."""

    def _raise(self):
        try:
            raise OSError(f"http://somebody:{MLFLOW_PASSWORD}@127.0.0.1:1 gave way")
        except OSError as error:
            text = f"postgresql://mpn:{PASSWORD}@h/x is away, {S3_SECRET}, password={PASSWORD}"
            raise RuntimeError(text) from error


class LeakyObjective(ToyObjective):
    """Its work fails, and says too much."""

    def open(self, site):
        return LeakyWorker(self)


@pytest.fixture
def leaky(tmp_path, monkeypatch):
    """A study whose second trial fails."""
    monkeypatch.setitem(OBJECTIVES, "toy", LeakyObjective())
    path = tmp_path / "leaky.yaml"
    path.write_text(
        "study: leaky\nquestion: Does it leak?\nobjective: toy\n"
        "base: {units: 3, raise_at: null}\nsweep:\n  raise_at: [null, 1]\n"
        "measure: {primary: score}\n"
    )
    return path


def with_password(uri):
    return uri.replace("http://", f"http://somebody:{MLFLOW_PASSWORD}@")


def secrets_in(text):
    return [secret for secret in SECRETS if secret in text]


def assert_no_secret_anywhere(mpn, postgres, mlflow_server, said):
    """Not in what was said, the home, the ledger, Optuna's database or MLflow's."""
    assert secrets_in(said) == []
    for path in mpn.home.rglob("*"):
        if path.is_file():
            assert secrets_in(path.read_bytes().decode(errors="replace")) == [], path
    for place in (mpn.services.ledger, mlflow_server.artifacts):
        files, root = fsspec.core.url_to_fs(place)
        files.invalidate_cache()
        for path in files.find(root):
            assert secrets_in(files.cat_file(path).decode(errors="replace")) == [], path
    for database in (mpn.services.optuna, mlflow_server.database):
        assert secrets_in(postgres.dump(database)) == []


@pytest.fixture
def guarded(services, tmp_path):
    """A home on services that are told where the others are with passwords."""
    told = Services(services.ledger, services.optuna, with_password(services.mlflow))
    return OnServices(tmp_path / "home", told)


def test_a_study_that_goes_well_tells_nobody_a_password(
    guarded, fresh_mlflow, postgres, mlflow_server, study
):
    process = guarded.start("run", study, "--executor", "inline")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    assert "--optuna postgresql+psycopg://***@127.0.0.1" in " ".join(err.split())
    said = guarded("sync") + guarded("status", "small") + guarded("table", "small")
    assert len(shown(mlflow_server.uri, "small")) == 4
    assert_no_secret_anywhere(guarded, postgres, mlflow_server, out + err + said)


def test_a_study_that_fails_tells_nobody_a_password(
    guarded, fresh_mlflow, postgres, mlflow_server, leaky
):
    said = guarded("run", leaky, "--executor", "inline", code=3)
    assert "postgresql://***@h/x is away, ***, password=***" in " ".join(said.split())
    failed = shown(mlflow_server.uri, "leaky")["1 raise_at=1"]
    assert "http://***@127.0.0.1:1 gave way" in failed["tags"]["mpn.failure"]
    memory = Ledger(guarded.services.ledger).study("leaky")
    assert "http://***@127.0.0.1:1 gave way" in json.dumps(memory)
    assert_no_secret_anywhere(guarded, postgres, mlflow_server, said)


def test_services_that_are_away_tell_nobody_a_password(
    guarded, postgres, mlflow_server, leaky, tmp_path
):
    away = Services(
        guarded.services.ledger, guarded.services.optuna, with_password("http://127.0.0.1:1")
    )
    mpn = OnServices(guarded.home, away)
    said = mpn("run", leaky, "--executor", "inline", code=3)
    assert "MLflow is not up to date" in said
    said += mpn("sync", code=2)
    assert "http://***@127.0.0.1:1" in said
    for optuna in (
        f"postgresql://mpn:{MLFLOW_PASSWORD}@127.0.0.1:1/x",
        guarded.services.optuna.replace(PASSWORD, "p@per-clip"),  # which is wrong
    ):
        nowhere = OnServices(guarded.home, Services(away.ledger, optuna, away.mlflow))
        said += nowhere("run", leaky, "--executor", "inline", code=2)
    assert said.count("Optuna's database: 'postgresql+psycopg://***@127.0.0.1") == 2
    assert_no_secret_anywhere(mpn, postgres, mlflow_server, said)
