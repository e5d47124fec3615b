"""The batch script for Slurm, run for real: Ray, nodes and the study, on one machine."""

import os
import re
import shutil
import signal
import stat
import subprocess

import psutil
import pytest
from command_line import CommandLine
from real_cluster import IN_MID_BLOCK, end_with_children, environment, until
from small_study import write_study

from studies.commands.cluster import TEMPLATES
from studies.running import bundled_specs

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(900)]

SCRIPT = bundled_specs().parent / "cluster" / TEMPLATES["slurm"]

# What a batch script calls on the first of its nodes. Every node is this machine.
COMMANDS = {
    "srun": """\
        node=
        while [[ $1 == --* ]]; do
            if [[ $1 == --nodelist=* ]]; then node=${1#--nodelist=}; fi
            shift
        done
        echo "srun $node $*" >> "$CALLS"
        export MPN_CACHE="$CACHES/$node"
        exec "$@"
        """,
    "scontrol": """\
        echo "scontrol $*" >> "$CALLS"
        if [[ "$1 $2" == "show hostnames" ]]; then printf '%s\\n' node-a node-b; fi
        """,
    "hostname": """\
        if [[ "${1-}" == --ip-address ]]; then echo 127.0.0.1; else echo here; fi
        """,
}


class Batch:
    """Runs the batch script as Slurm does."""

    def __init__(self, folder):
        self.folder = folder
        self.home = CommandLine(folder / "home")
        self.calls_path = folder / "calls"
        binaries = folder / "bin"
        binaries.mkdir()
        for name, body in COMMANDS.items():
            path = binaries / name
            path.write_text(f"#!/bin/bash\n{body}")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        variables = environment(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")
        self.environment = {
            **variables,
            "PATH": os.pathsep.join([str(binaries), variables["PATH"]]),
            "CALLS": str(self.calls_path),
            "CACHES": str(folder / "caches"),
            "MPN_HOME": str(self.home.home),
            "USER": "tester",
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_JOB_NODELIST": "node-[a-b]",
            "SLURM_CPUS_PER_TASK": "1",
        }
        self._log = (folder / "log").open("w+")

    def start(self, study):
        return subprocess.Popen(
            ["bash", str(SCRIPT), str(study)],
            cwd=self.folder,
            env=self.environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def calls(self):
        return self.calls_path.read_text()

    @property
    def log(self):
        return (self.folder / "log").read_text()

    def leftovers(self):
        """Processes that know of this job, beside the script."""
        mark = f"ray-tester-{self.environment['SLURM_JOB_ID']}"
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if mark in " ".join(process.info["cmdline"] or ())
        ]

    def close(self):
        self._log.close()
        shutil.rmtree(f"/tmp/ray-tester-{self.environment['SLURM_JOB_ID']}", ignore_errors=True)


@pytest.fixture
def batch(tmp_path):
    batch = Batch(tmp_path)
    yield batch
    batch.close()


def test_a_job_near_its_time_limit_is_checkpointed_queued_again_and_finished(batch, tmp_path):
    study = write_study(tmp_path, steps=600)
    job = batch.start(study)
    try:
        until(lambda: list(batch.home.home.glob(IN_MID_BLOCK)), "a checkpoint", 240)
        os.kill(job.pid, signal.SIGUSR1)
        assert job.wait(120) == 0, batch.log
    finally:
        end_with_children(job)
    assert f"scontrol requeue {batch.environment['SLURM_JOB_ID']}" in batch.calls
    assert "Interrupted; everything done is kept." in " ".join(batch.log.split())
    assert batch.home.json("status", "small", "--json")["state"] == "interrupted"
    assert batch.leftovers() == []
    started = re.findall(r"srun (node-[ab]) ray start", batch.calls)
    assert started == ["node-a", "node-b"]
    actors = {path.name for path in (tmp_path / "caches").iterdir()}
    assert actors <= {"node-a", "node-b"} and actors  # each has a cache of its own

    before = len(batch.home.records())
    job = batch.start(study)
    try:
        assert job.wait(300) == 0, batch.log
    finally:
        end_with_children(job)
    assert before < 4
    assert batch.calls.count("scontrol requeue") == 1
    assert batch.leftovers() == []
    here = CommandLine(tmp_path / "here")
    here("run", study, "--executor", "inline")
    assert batch.home.records() == here.records()


def test_a_preempted_job_is_checkpointed_and_left_to_slurm(batch, tmp_path):
    study = write_study(tmp_path, steps=600)
    job = batch.start(study)
    try:
        until(lambda: list(batch.home.home.glob(IN_MID_BLOCK)), "a checkpoint", 240)
        os.kill(job.pid, signal.SIGTERM)
        assert job.wait(120) == 143, batch.log
    finally:
        end_with_children(job)
    assert "requeue" not in batch.calls
    assert batch.home.json("status", "small", "--json")["state"] == "interrupted"
    assert batch.leftovers() == []
