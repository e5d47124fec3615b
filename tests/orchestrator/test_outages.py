"""A study whose ledger is on S3, which is out of reach now and then."""

import threading
import urllib.parse

import pytest
from s3fs import S3FileSystem
from servers import Gateway
from sweep_lab import Lab, result_files, study

from orchestrator.services import Services

SPEC = study(
    base={"streams": 2, "units": 4},
    sweep={"weight": [1.0, 2.0]},
    resources={"checkpoint_every_s": 0.0},
    retry={"backoff_s": 0.1},
)
AWAY_S = 3.0  # longer than the client itself tries


@pytest.fixture
def gateway(s3, monkeypatch):
    """The way to S3, which can be closed; its clients try twice."""
    gateway = Gateway(urllib.parse.urlsplit(s3.url).port)
    gateway.open()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{gateway.port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    S3FileSystem.clear_instance_cache()
    yield gateway
    gateway.close()
    S3FileSystem.clear_instance_cache()


def test_a_study_waits_for_its_ledger_and_ends_as_an_undisturbed_one(
    s3, gateway, optuna_db, tmp_path, tmp_path_factory, caplog
):
    alone = Lab(tmp_path_factory.mktemp("alone"))
    alone.run(SPEC)

    lab = Lab(tmp_path, Services(ledger=s3.fresh_uri()))
    moments = [1, 11]

    def be_away():
        if moments and len(lab.units) == moments[0]:
            moments.pop(0)
            gateway.close()
            threading.Timer(AWAY_S, gateway.open).start()

    lab.meanwhile = be_away
    report = lab.run(SPEC, checkpoint_every_s=0.0)
    assert (report.state, moments) == ("done", [])
    assert "lost after" in caplog.text or "cannot be used" in caplog.text
    assert lab.states == ["complete", "complete"]
    assert lab.book_states == ["COMPLETE", "COMPLETE"]
    assert result_files(lab.home.ledger) == alone.result_files()
    assert len(lab.units) <= 16 + 2  # a unit is done again for each outage
