"""What mpn submit refuses before it talks to any cluster, and how it follows a job."""

import pytest
from command_line import CommandLine

from orchestrator import cluster_jobs
from orchestrator.cluster_jobs import JobEnd
from orchestrator.errors import InputError

TO = ("--address", "http://127.0.0.1:1")  # where nobody listens
HOME = ("--home", "/shared/home")


@pytest.fixture
def mpn(tmp_path):
    return CommandLine(tmp_path)


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("study: 'a'  # a comment\nquestion: Does it?\n")
    return path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "either a study, or --stop JOB, or --logs JOB"),
        (("a.yaml", "--stop", "a-1"), "either a study, or --stop JOB, or --logs JOB"),
        (("quickstart",), "--home: ''"),
        (
            ("quickstart", "--home", "mpn-home"),
            "an absolute path, as the cluster's nodes see it",
        ),
        (("quickstart", *HOME, "--env", "A=b"), "--env: A=..."),
        (("quickstart", *HOME, "--env", "a b"), "--env: 'a b'"),
        (("quickstart", *HOME, "--env", "MPN_NO_SUCH"), "MPN_NO_SUCH is not set"),
        (("no-such-study", *HOME), "no such study comes along"),
        (("no-such-study.yaml", *HOME), "cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_work_is_refused_at_once(mpn, words, said):
    assert said in mpn.without_home("submit", *words, *TO, code=2)


@pytest.mark.parametrize(
    "words",
    [
        (*HOME, "--optuna", "postgresql://me:hunter2@host/db"),
        (*HOME, "--set", "base.x=http://me:hunter2@host/"),
        (*HOME, "--", "--mlflow", "postgresql://me:hunter2@host/db"),
    ],
)
def test_a_password_does_not_get_into_a_jobs_command_nor_into_the_message(mpn, study, words):
    said = mpn.without_home("submit", study, *TO, *words, code=2)
    assert "no passwords: a job's command is shown to everybody" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("text", ["question: x\n", "study: A B\n", "study: [a]\n", "- a\n"])
def test_a_file_without_a_study_in_it_is_not_sent(mpn, study, text):
    study.write_text(text)
    assert "Nothing was submitted." in mpn.without_home("submit", study, *HOME, *TO, code=2)


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:6379", "ray://127.0.0.1:10001"])
def test_a_dashboard_is_asked_for_by_its_address(mpn, study, address):
    said = mpn.without_home("submit", study, *HOME, "--address", address, code=2)
    assert "is not the address of a dashboard" in said


def test_a_dashboard_that_is_not_there_is_said(mpn, study):
    said = mpn.without_home("submit", study, *HOME, *TO, code=2)
    assert "'http://127.0.0.1:1' does not answer" in said


class FlakyJobs(cluster_jobs.ClusterJobs):
    """A job whose log comes in pieces, over a connection that breaks."""

    def __init__(self, tails, ends):
        self._tails, self._ends = iter(tails), iter(ends)
        self._client, self._address = self, "http://head:8265"

    async def tail_job_logs(self, job_id):
        for piece in next(self._tails):
            if piece is None:
                raise RuntimeError("WebSocket connection closed unexpectedly")
            yield piece

    def end(self, job_id):
        found = next(self._ends)
        if found == "away":
            raise InputError("the command", [])
        return found


def test_every_piece_of_a_log_is_written_once_through_losses_of_the_connection(monkeypatch):
    monkeypatch.setattr(cluster_jobs, "_AGAIN_S", 0.0)
    done = JobEnd("FAILED", 3, "")
    tails = [["ab", "cd", None], ["abc", "def", None], [None], ["abcdef", "g\n"]]
    jobs, written = FlakyJobs(tails, [None, None, "away", None, done]), []
    assert jobs.follow("a-1", written.append) == done
    assert written == ["ab", "cd", "ef", "g\n"]


def test_a_cluster_that_stays_away_is_given_up(monkeypatch):
    monkeypatch.setattr(cluster_jobs, "_AGAIN_S", 0.0)
    monkeypatch.setattr(cluster_jobs, "_MOST_SILENT", 3)
    jobs = FlakyJobs([[None]] * 6, [None, "away", "away", None, *["away"] * 3])
    with pytest.raises(InputError):
        jobs.follow("a-1", lambda text: None)
    assert list(jobs._ends) == []
