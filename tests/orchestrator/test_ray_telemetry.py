"""A study on a private Ray, seen from outside: by Prometheus, by the system, in its logs."""

import json
import os
import re
import time
import urllib.request
from pathlib import Path

import optuna
import psutil
import pytest
import toy_objective
from sweep_lab import Lab, Watching, study
from toy_objective import ToyObjective

from orchestrator.executors.replica import ReplicaPlan
from orchestrator.objective import Site
from orchestrator.surroundings import StopRequest, Surroundings
from orchestrator.sweep import run_sweep
from orchestrator.telemetry import METRICS
from orchestrator.tracking.protocol import NullTracker

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

SAMPLE = re.compile(r"(ray_mpn\w+)\{(.*)\} (\S+)")
LABEL = re.compile(r'(\w+)="([^"]*)"')
OURS = {"study", "unit", "state", "reason", "le"}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A study of four blocks of three units that ran, one of them killed; its Ray still is up."""
    import ray

    from orchestrator.executors.ray_pool import PoolSettings, RayExecutor

    folder = tmp_path_factory.mktemp("swept")
    optuna.get_all_study_summaries(f"sqlite:///{folder / 'optuna.db'}")
    lab = Lab(folder)
    kept = []

    class Kept(RayExecutor):
        def close(self):
            """Stay, to be looked at."""

    def make(n_blocks, session):
        site = Site(lab.home.cache, "cpu", 1)
        plan = ReplicaPlan(
            ToyObjective(), lab.home.ledger, site, 0.0, session, "a", lab.home.logs.resolve()
        )
        kept.append(Kept(plan, PoolSettings(2, gpus=0, cpus=0.1)))
        return kept[0]

    around = Surroundings(make, NullTracker(), Watching(), StopRequest(), {}, lambda results: {})
    spec = study(sweep={"weight": [1.0, 2.0]}, base={"die_at": 2, "once": str(folder)})
    folders = [str(Path(toy_objective.__file__).parent), os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
        patch.setenv("RAY_metrics_report_interval_ms", "500")
        report = run_sweep(spec, ToyObjective(), lab.home, around)
        assert report.state == "done"
        yield lab, ray
        RayExecutor.close(kept[0])


def scraped(ray):
    """Sum of every series of ours on this node, by name and labels, over processes."""
    [node] = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    assert url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    sums = {}
    for name, labels, value in SAMPLE.findall(text):
        own = [f"{key}={v}" for key, v in sorted(LABEL.findall(labels)) if key in OURS]
        series = " ".join([name, *own])
        sums[series] = sums.get(series, 0.0) + float(value)
    return sums


def test_prometheus_finds_every_metric_with_its_value(swept):
    _, ray = swept
    deadline = time.monotonic() + 120
    expected = {
        "ray_mpn_blocks state=complete study=a": 4,
        "ray_mpn_blocks state=waiting study=a": 0,
        "ray_mpn_blocks_in_flight study=a": 0,
        "ray_mpn_replicas study=a": 2,
        "ray_mpn_retries_total study=a": 1,
        "ray_mpn_lost_attempts_total reason=ActorDiedError study=a": 1,
        "ray_mpn_mirror_backlog study=a": 0,
    }
    # the killed process took its last figures along: it had done two units
    least = 4 * 3 - 2
    while True:
        found = scraped(ray)
        units = found.get("ray_mpn_units_total study=a unit=numbers", 0)
        if expected.items() <= found.items() and units >= least:
            break
        assert time.monotonic() < deadline, found
        time.sleep(0.5)  # as long as Ray takes to send what it has
    assert least <= units <= 12
    assert 0 < found["ray_mpn_replica_working_seconds_total study=a"] < 60
    assert found["ray_mpn_checkpoint_bytes_total study=a"] > 500 * least
    assert least <= found["ray_mpn_checkpoint_seconds_count study=a"] <= 12
    names = {series.split()[0] for series in found}
    for metric in METRICS:
        if metric.name != "mpn_failed_blocks":  # none did
            assert any(name.startswith(f"ray_{metric.name}") for name in names), metric.name


def test_no_process_of_a_private_ray_can_be_reached_from_another_machine(swept):
    own = psutil.Process()
    listening = [
        (process.name(), connection.laddr.ip)
        for process in [own, *own.children(recursive=True)]
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 5
    assert {address for _, address in listening} <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_the_home_says_where_to_scrape_while_ray_is_up(swept):
    lab, ray = swept
    [node] = ray.nodes()
    [found] = json.loads((lab.home.logs / "a.prometheus.json").read_text())
    assert found == {
        "targets": [f"127.0.0.1:{node['MetricsExportPort']}"],
        "labels": {"mpn_study": "a"},
    }


def test_each_worker_has_a_log_in_the_home(swept):
    lab, _ = swept
    logs = [
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in lab.home.logs.glob("a-*.log")
    ]
    assert (
        2 <= len(logs) <= 3
    )  # two actors, and one in the place of the killed one if it was needed
    for log in logs:
        assert len({line["worker"] for line in log}) == 1
        assert {line["study"] for line in log} == {"a"}
    begun = {line["block"] for log in logs for line in log if "begins" in line["message"]}
    assert len(begun) == 4
