import json
import logging
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.logs import about, logging_to, open_log, worker_log, worker_name


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "a.log"


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


LOG = logging.getLogger("here")


def test_a_line_says_when_what_and_what_it_is_about(path):
    before = datetime.now(UTC)
    with logging_to(path, study="a", worker="host:1"), about(trial=3, block="ab", attempt=2):
        LOG.warning("it is %s", "so")
    [line] = lines(path)
    time = datetime.fromisoformat(line.pop("time"))
    assert line == {
        "level": "WARNING",
        "logger": "here",
        "message": "it is so",
        "study": "a",
        "worker": "host:1",
        "trial": 3,
        "block": "ab",
        "attempt": 2,
    }
    assert time.utcoffset().total_seconds() == 0
    assert -0.001 <= (time - before).total_seconds() < 60


def test_what_is_about_something_ends_with_its_context_and_stays_in_its_thread(path):
    with logging_to(path, study="a"):
        with about(trial=1, attempt=1):
            with about(trial=2, worker=None):
                LOG.info("inner")
            LOG.info("outer")
            thread = threading.Thread(target=LOG.info, args=("elsewhere",))
            thread.start()
            thread.join()
        LOG.info("after")
    found = [(one["message"], one.get("trial"), one.get("attempt")) for one in lines(path)]
    assert found == [
        ("inner", 2, 1), ("outer", 1, 1), ("elsewhere", None, None), ("after", None, None)
    ]  # fmt: skip
    assert all("worker" not in one for one in lines(path))


def test_a_line_stays_one_whatever_is_in_it(path):
    with logging_to(path):
        try:
            raise ValueError("two\nlines")
        except ValueError:
            LOG.exception("Größer\n中文\x00", extra={"unused": object()})
    [line] = lines(path)
    assert line["message"] == "Größer\n中文\x00"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: two\nlines")


def test_a_log_is_appended_to_and_ends_with_its_context(path):
    for number in (1, 2):
        with logging_to(path):
            LOG.info("run %d", number)
            LOG.debug("not this")
    LOG.error("nor this")
    assert [one["message"] for one in lines(path)] == ["run 1", "run 2"]


def test_a_process_logs_to_where_it_was_told_to_its_end(path):
    handler = open_log(path, worker="host:1")
    try:
        LOG.info("one")
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    assert [one["worker"] for one in lines(path)] == ["host:1"]


def test_a_worker_logs_in_the_home_where_it_has_it_and_else_on_its_own_machine(
    tmp_path, monkeypatch
):
    name = f"a-{worker_name().replace(':', '-')}.log"
    assert worker_log(tmp_path / "logs", "a") == tmp_path / "logs" / name
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "tmp"))
    missing = tmp_path / "not-here" / "logs"
    assert worker_log(missing, "a") == tmp_path / "tmp" / "mpn-logs" / name
    assert not missing.parent.exists()


def test_a_full_disk_leaves_a_gap_in_the_log_and_nothing_on_the_terminal(tmp_path, capfd):
    disk = Path("/dev/full")  # every write to it finds no space
    path = tmp_path / "a.log"
    log = logging.getLogger("full")
    with logging_to(path, study="a"):
        log.info("before")
        [handler] = [
            h for h in logging.getLogger().handlers if getattr(h, "baseFilename", "") == str(path)
        ]
        handler.stream.close()
        handler.stream = disk.open("a")
        log.info("lost")
        log.info("after")
        handler.stream.close()
        handler.stream = disk.open("a")
        log.info("lost, too")
    said = [json.loads(line)["message"] for line in path.read_text().splitlines() if line]
    assert said == ["before", "after"]
    assert capfd.readouterr() == ("", "")
