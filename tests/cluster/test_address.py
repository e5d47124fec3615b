"""mpn run --address: a study on the nodes of a running cluster, each with a cache of its own."""

import json

import pytest
import ray
from command_line import CommandLine
from ray.cluster_utils import Cluster
from small_study import write_study

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head without room, and two nodes that differ; ``caches`` holds those of the nodes."""
    caches = tmp_path_factory.mktemp("caches")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for name, more in (("a", {"num_gpus": 1}), ("b", {"resources": {"fast": 2}})):
        variables = {"MPN_CACHE": str(caches / name)}
        cluster.add_node(num_cpus=2, labels={"zone": name}, env_vars=variables, **more)
    cluster.caches = caches
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def run(cluster, tmp_path):
    def run(*words, code=0):
        mpn = CommandLine(tmp_path / "home")
        study = write_study(tmp_path, steps=30)
        process = mpn.start("run", study, "--address", cluster.address, *words)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, out + err
        return mpn, " ".join(err.split())

    return run


def test_every_node_works_with_its_own_cache_to_the_same_bytes(cluster, run, tmp_path):
    here = CommandLine(tmp_path / "here")
    here("run", write_study(tmp_path, steps=30), "--executor", "inline")

    mpn, said = run("--set", "resources.strategy=spread")
    assert mpn.records() == here.records()
    assert "4 blocks run, 0 reused, 4 actors" in said  # two a node, none on the head
    for name in ("a", "b"):
        [model] = (cluster.caches / name / "models").glob("scratch-*")
        origin = mpn.home / "cache" / "models" / model.name
        for path in origin.iterdir():
            assert (model / path.name).read_bytes() == path.read_bytes()
        assert list((cluster.caches / name / "queries").glob("*.safetensors"))
    assert not (mpn.home / "cache" / "queries").exists()


@pytest.mark.parametrize(
    ("setting", "n_actors"),
    [
        ("resources.labels={zone: b}", 2),
        ("resources.custom={fast: 2}", 1),
        ("resources.labels={zone: 'in(a, b)'}", 4),
    ],
)
def test_actors_are_where_the_study_says_and_as_many_as_fit(run, setting, n_actors):
    mpn, said = run("--set", setting)
    assert f", {n_actors} actors," in said
    attempts = mpn.home.glob("ledger/blocks/*/*/attempt.json")
    workers = {json.loads(path.read_text())["worker"] for path in attempts}
    assert len(workers) <= n_actors


def test_a_study_that_fits_nowhere_is_refused_with_what_there_is(run):
    mpn, said = run("--set", "resources.labels={zone: c}", code=2)
    assert "no node fits one actor, which needs CPU 1, zone=c" in said
    assert "1 x CPU 2, GPU 1" in said and "zone=a" in said and "fast 2" in said
    assert not (mpn.home / "ledger").exists() and not (mpn.home / "optuna.db").exists()


def test_where_there_are_gpus_they_are_the_default(run):
    _, said = run("--set", "resources.gpus=null", "--set", "resources.cpus=3", code=2)
    assert "needs GPU 1, CPU 3" in said
