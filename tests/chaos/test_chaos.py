"""Whatever befalls a study, it ends with the records of an undisturbed run.

One seeded run meets every kind of fault: actors killed and stopped, nodes lost, drivers killed and
told to stop, MLflow away, the database switched off, the disk full. ``MPN_CHAOS_ROUNDS`` repeats
the list of faults on a longer study, ``MPN_CHAOS_SEED`` draws another order of them.
"""

import contextlib
import json
import os
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

import optuna
import pytest
import ray
from command_line import CommandLine
from faults import Chaos, SmallDisk, drawn
from mlflow import MlflowClient
from ray.cluster_utils import Cluster
from small_study import write_study

from orchestrator.ledger import Ledger
from orchestrator.results import StudyResults

ROUNDS = int(os.environ.get("MPN_CHAOS_ROUNDS", "1"))
SEED = int(os.environ.get("MPN_CHAOS_SEED", "0"))
FAULTS = {
    "kill_actor": 6,
    "stop_actor": 2,
    "lose_node": 4,
    "kill_driver": 4,
    "interrupt_driver": 1,
    "lose_mlflow": 3,
    "lose_database": 4,
    "fill_disk": 3,
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.services,
    pytest.mark.ray,
    pytest.mark.timeout(900 * ROUNDS),
]


@pytest.fixture(scope="module")
def study(tiny_model, tmp_path_factory) -> Path:
    cache = tmp_path_factory.mktemp("cache")  # not on the disk that is filled
    return write_study(
        tmp_path_factory.mktemp("chaos"),
        name="chaos",
        steps=230 * ROUNDS,
        backbone=tiny_model,
        streams={"count": 5, "edits": 11},
        pairing={"choice": "fixed"},
        sweep={"pairing.languages": [0, 1, 2, 5], "editor.memory.weight": [0.001, 0.002]},
        resources={"checkpoint_every_s": 0, "cpus": 1, "gpus": 0, "cache": str(cache)},
        retry={"attempts": 10, "backoff_s": 0.2, "silence_s": 8, "patience_s": 120},
    )


@pytest.fixture(scope="module")
def undisturbed(study, tmp_path_factory) -> CommandLine:
    mpn = CommandLine(tmp_path_factory.mktemp("undisturbed"))
    mpn("run", study, "--executor", "inline")
    return mpn


@pytest.fixture
def disk(tmp_path):
    disk = SmallDisk(tmp_path / "disk")
    if not disk.is_there:
        pytest.skip(f"no small disk can be mounted, to be filled: {disk.trouble}")
    yield disk
    disk.close()


@pytest.fixture
def chaos(study, disk, postgres, mlflow_server, monkeypatch, tmp_path):
    home = disk.folder / "home"
    monkeypatch.setenv("MPN_CHAOS_HOME", str(home))  # by which the cluster's actors are known
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    database, output = postgres.fresh_uri(), tmp_path / "output"
    words = (
        "run", study, "--address", cluster.address, "--actors", "2", "--wait", "60",
        "--optuna", database, "--mlflow", mlflow_server.uri,
    )  # fmt: skip
    yield Chaos(
        CommandLine(home), words, cluster, nodes, postgres, mlflow_server, disk, output, SEED
    )
    ray.shutdown()
    cluster.shutdown()


def lines(home):
    """What the workers logged, in the order of time."""
    found = []
    for path in (home / "logs").rglob("*.log"):
        for line in path.read_text().splitlines():
            with contextlib.suppress(ValueError):  # cut off, where the disk was full
                found.append(json.loads(line))
    return sorted(found, key=lambda line: line["time"])


def test_a_study_survives_everything_to_the_same_bytes(chaos, undisturbed):
    chaos.run(drawn(SEED, {kind: n * ROUNDS for kind, n in FAULTS.items()}))
    assert chaos.happened == Counter({kind: n * ROUNDS for kind, n in FAULTS.items()})
    assert chaos.happened.total() >= 25

    assert chaos.mpn.records() == undisturbed.records()
    assert_optuna_agrees(chaos)
    assert_mlflow_agrees(chaos)
    logged = lines(chaos.mpn.home)
    completions = Counter(line["block"] for line in logged if line["message"] == "complete")
    assert set(completions.values()) <= {1}, "a block ran to completion twice"
    assert_no_checkpoint_was_lost(chaos, logged)


def assert_optuna_agrees(chaos):
    storage = optuna.storages.RDBStorage(chaos.words[chaos.words.index("--optuna") + 1])
    trials = optuna.load_study(study_name="chaos", storage=storage).trials
    storage.remove_session()
    storage.engine.dispose()
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    # a trial that failed, or was half written when the database went, was written anew
    assert {trial.state.name for trial in trials if trial not in complete} <= {"FAIL"}
    numbers = {trial["trial_id"]: trial["number"] for trial in memory(chaos)["trials"]}
    values = {numbers[trial.user_attrs["trial_id"]]: trial.value for trial in complete}
    assert len(complete) == len(values) == 8
    assert values == pytest.approx(ledger_values(chaos))


def assert_mlflow_agrees(chaos):
    client = MlflowClient(chaos.tracker.uri)
    experiment = client.get_experiment_by_name("chaos")
    runs = list(client.search_runs([experiment.experiment_id]))
    assert Counter(run.info.status for run in runs) == {"FINISHED": 9}  # the study's and trials'
    values = {
        int(run.data.tags["mpn.trial"]): run.data.metrics["cross_lingual_generality"]
        for run in runs
        if "mpn.trial" in run.data.tags
    }
    assert values == pytest.approx(ledger_values(chaos))


def memory(chaos):
    return Ledger(str(chaos.mpn.home / "ledger")).study("chaos")


def ledger_values(chaos):
    results = StudyResults.load(Ledger(str(chaos.mpn.home / "ledger")), "chaos")
    return {
        row.trial.number: row.metrics["cross_lingual_generality"].mean for row in results.rows()
    }


def assert_no_checkpoint_was_lost(chaos, logged):
    """After each fault a block goes on where its last checkpoint was, or further."""
    begun = defaultdict(list)
    for line in logged:
        words = line["message"].split()
        if words[:2] == ["begins", "with"]:
            begun[line["block"]].append((line["time"], int(words[2])))
    n_checked = 0
    for when, positions in chaos.kept:
        for block, position in positions.items():
            later = [done for time, done in begun[block] if time > stamp(when)]
            n_checked += bool(later)
            assert min(later, default=position) >= position
    assert n_checked >= 10


def stamp(seconds):
    """A time as logs write it."""
    return (
        datetime.fromtimestamp(seconds, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
