"""Studies as jobs of a real cluster: submitted, followed, stopped, killed, and continued."""

import re
import signal
import subprocess
import sys

import psutil
import pytest
from command_line import CommandLine
from real_cluster import IN_MID_BLOCK, ray_head, until
from small_study import write_study

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(900)]

SECRET = "hunter2-and-more"


@pytest.fixture(scope="module")
def cluster():
    with ray_head() as (address, environment):
        yield address, environment


class Submitter:
    """Calls ``mpn submit`` as a user at another machine does."""

    def __init__(self, cluster, home):
        self.address, self._environment = cluster
        self.home = CommandLine(home)

    def start(self, *words):
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "studies",
                "submit",
                *map(str, words),
                "--address",
                self.address,
            ],
            env={**self._environment, "MPN_TEST_SECRET": SECRET},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __call__(self, *words, code=0):
        process = self.start(*words)
        said = process.communicate(timeout=300)[0]
        assert process.returncode == code, said
        return said

    def in_mid_block(self, timeout_s=240):
        until(lambda: list(self.home.home.glob(IN_MID_BLOCK)), "a checkpoint", timeout_s)

    def drivers(self):
        """Processes on the head that run the study."""
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if (words := process.info["cmdline"])
            and "small.yaml" in words
            and str(self.home.home) in words
            and "run" in words
        ]


def job_of(said):
    """The job's id: it stands first."""
    job_id = said.split()[0]
    assert re.fullmatch(r"small-[0-9a-f]{8}", job_id), said
    return job_id


@pytest.fixture
def submit(cluster, tmp_path):
    return Submitter(cluster, tmp_path / "home")


def test_a_study_that_was_submitted_ends_with_the_records_of_one_that_ran_here(submit, tmp_path):
    study = write_study(tmp_path, steps=60)
    here = CommandLine(tmp_path / "here")
    here("run", study, "--executor", "inline")

    said = submit(study, "--home", submit.home.home, "--env", "MPN_TEST_SECRET")
    assert submit.home.records() == here.records()
    assert submit.home.json("status", "small", "--json")["state"] == "done"
    job_id = job_of(said)
    assert f"continue it with: mpn submit {study}" in said
    assert "small done: 4 blocks run" in said  # which the driver said
    assert SECRET not in said
    assert said.count("small done: 4 blocks run") == 1

    again = submit("--logs", job_id)
    assert "small done: 4 blocks run" in again
    repeated = submit(study, "--home", submit.home.home, "--actors", "1")
    assert "Nothing to run: all 4 blocks of small are complete." in repeated


def test_what_the_driver_refuses_ends_the_command_as_mpn_run_would(submit, tmp_path):
    study = write_study(tmp_path, steps=60)
    too_much = ("--set", "resources.custom={h100: 1}")
    said = submit(study, "--home", submit.home.home, *too_much, code=2)
    assert "no node fits one actor, which needs CPU 1, h100 1" in said
    assert "1 x CPU 2" in said
    assert submit.home.records() == {}


def test_a_job_survives_its_follower_and_a_study_its_jobs(submit, tmp_path):
    study = write_study(tmp_path, steps=2500)
    undisturbed = CommandLine(tmp_path / "undisturbed")
    undisturbed("run", study, "--executor", "inline")

    words = (study, "--home", submit.home.home, "--actors", "1")
    follower = submit.start(*words)
    submit.in_mid_block()
    follower.send_signal(signal.SIGINT)
    said = follower.communicate(timeout=60)[0]
    assert follower.returncode == 130, said
    job_id = job_of(said)
    assert f"No longer following; {job_id} goes on." in said
    assert submit.drivers()

    submit("--stop", job_id)
    until(lambda: not submit.drivers(), "the end of the driver")
    assert submit.home.json("status", "small", "--json")["state"] == "interrupted"
    assert "Interrupted; everything done is kept." in submit("--logs", job_id, code=130)

    second = job_of(submit(*words, "--no-wait"))
    assert second != job_id
    before = set(submit.home.home.glob(IN_MID_BLOCK))
    until(submit.drivers, "a driver")
    until(lambda: set(submit.home.home.glob(IN_MID_BLOCK)) - before, "more work", 240)
    for driver in submit.drivers():
        driver.send_signal(signal.SIGKILL)
    until(lambda: not submit.drivers(), "the end of the driver")

    submit(*words)
    assert submit.home.records() == undisturbed.records()


def test_without_the_token_nobody_is_let_in(submit, tmp_path):
    study = write_study(tmp_path, steps=60)
    submit._environment = {**submit._environment, "RAY_AUTH_TOKEN": "0" * 64}
    said = submit(study, "--home", submit.home.home, code=2)
    assert "does not let us in" in said
    assert "RAY_AUTH_TOKEN" in said
