"""Studies watched while they run, by other processes."""

import json
import signal
import socket
import time

import psutil
import pytest
from command_line import kill_group


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_running_study_is_watched_to_its_end_and_can_be_left(mpn, slow_study):
    driver = mpn.start("run", slow_study, "--executor", "inline")
    mpn.wait_for("ledger/studies/small.json", driver)
    watcher = mpn.start("status", "small", "--watch", "--every", "0.2")
    leaver = mpn.start("status", "small", "--watch", "--every", "0.2")
    assert leaver.stdout.readline().startswith("small running: ")
    leaver.send_signal(signal.SIGINT)
    leaver.communicate(timeout=60)
    assert leaver.returncode == 0
    assert driver.poll() is None
    out, err = driver.communicate(timeout=240)
    assert driver.returncode == 0, out + err
    out, err = watcher.communicate(timeout=60)
    assert watcher.returncode == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("small running: trials ")
    assert lines[-1] == "small done: trials 3 complete; blocks 6 complete"
    assert len(set(lines)) == len(lines) >= 2


def test_a_study_that_has_ended_is_shown_once_and_wrong_wishes_are_refused(mpn, study):
    mpn("run", study, "--executor", "inline")
    shown = mpn("status", "small", "--watch")
    assert shown == "small done: trials 3 complete; blocks 6 complete\n"
    assert "one of the two" in mpn("status", "small", "--watch", "--json", code=2)
    assert "nope" in mpn("status", "nope", "--watch", code=2)

    log = (mpn.home / "logs" / "small.log").read_text().splitlines()
    found = [json.loads(line) for line in log]
    assert {line["study"] for line in found} == {"small"}
    assert sum(line["message"] == "finished" and len(line["block"]) == 64 for line in found) == 6


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_mlflow_ui_can_be_reached_from_this_machine_only(mpn, study):
    mpn("run", study, "--executor", "inline")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = mpn.start("ui", "--port", port)
    try:
        listening = []
        for _ in range(600):
            assert server.poll() is None, server.communicate()
            processes = [psutil.Process(server.pid)]
            processes += processes[0].children(recursive=True)
            listening = [
                (connection.laddr.ip, connection.laddr.port)
                for process in processes
                for connection in process.net_connections(kind="tcp")
                if connection.status == psutil.CONN_LISTEN
            ]
            if listening:
                break
            time.sleep(0.2)  # a process of others, that says nothing when it is ready
        assert set(listening) == {("127.0.0.1", port)}
    finally:
        kill_group(server)
