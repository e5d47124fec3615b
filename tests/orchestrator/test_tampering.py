"""What somebody, or a failing disk, did to a ledger is found out: redone, left out, or refused."""

import json

import pytest
from sweep_lab import Lab, study
from test_ledger import BLOCK, content, files_of, flipped, put, resume_at, segment, torn

from orchestrator.ledger import Ledger
from orchestrator.objective import Point
from orchestrator.results import StudyResults
from orchestrator.timed_points import TimedPoint

DEEP = b"[" * 100_000
HOSTILE = [b"", b"\xff\xfe", b"null", b"3", b'"x"', b"[]", b"[3]", b"{}", b'{"a": []}', DEEP]


@pytest.fixture
def ledger(tmp_path):
    return Ledger(str(tmp_path / "ledger"))


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: repr(data[:9]))
def test_files_beside_a_result_that_are_no_json_of_ours_are_as_good_as_none(ledger, data):
    ledger.complete(BLOCK, [], {0: {}}, {"attempt": 1})
    put(ledger, "attempt.json", data)
    put(ledger, "points.json", data)
    assert isinstance(ledger.attempt(BLOCK), dict)
    assert ledger.points(BLOCK) == []
    assert ledger.is_complete(BLOCK)
    put(ledger, "result.json", data)
    assert not ledger.is_complete(BLOCK)


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: repr(data[:9]))
def test_a_checkpoint_with_a_hostile_head_falls_back_to_the_one_before(ledger, data):
    ledger.checkpoint(BLOCK, segment(0, 2), 1000)
    ledger.checkpoint(BLOCK, segment(2, 5), 2000, after=2)
    put(ledger, "state-00000005.bin", data + b"\nat 5")
    put(ledger, "points-00000005.json", data)
    assert ledger.resume(BLOCK) == resume_at(2)
    assert [timed.point.step for timed in ledger.points(BLOCK)] == [0, 1]


@pytest.mark.parametrize("segments", [3, None, ["2"], {"x": "y"}, {"2": 3}, {"../../2": "y"}])
def test_a_head_that_speaks_of_other_segments_is_damaged(ledger, segments):
    ledger.checkpoint(BLOCK, segment(0, 2), 1000)
    ledger.checkpoint(BLOCK, segment(2, 5), 2000, after=2)
    head, _, state = content(ledger, "state-00000005.bin").partition(b"\n")
    changed = {**json.loads(head), "segments": segments}
    put(ledger, "state-00000005.bin", json.dumps(changed).encode() + b"\n" + state)
    assert ledger.resume(BLOCK) == resume_at(2)


def test_strange_names_among_checkpoints_are_left_alone(ledger):
    ledger.checkpoint(BLOCK, segment(0, 2), 1000)
    folder = f"work/{BLOCK}"
    for name in ("state-x.bin", "state--1.bin", "state-.bin", "state-²².bin"):
        ledger._publish(f"{folder}/{name}", b"{}\n")
    assert ledger.resume(BLOCK) == resume_at(2)


def test_damaged_points_are_left_out_and_the_others_kept(ledger):
    ledger.checkpoint(BLOCK, segment(0, 1), 1000)
    sound = json.loads(content(ledger, "points-00000001.json"))
    bad = [
        3, None, [], {}, {"timestamp_ms": 1}, {**sound[0], "more": 1}, {**sound[0], "value": "x"},
        {**sound[0], "metric": 3, "step": 8}, {**sound[0], "timestamp_ms": "x"},
    ]  # fmt: skip
    put(ledger, "points-00000001.json", json.dumps([*bad, *sound]).encode())
    assert ledger.points(BLOCK) == [TimedPoint(Point(0, "score", 0, 0.0), 1000)]


@pytest.mark.parametrize("data", [*HOSTILE[:7], DEEP], ids=lambda data: repr(data[:9]))
def test_a_memory_that_is_no_mapping_is_as_good_as_none(ledger, data):
    ledger._publish("studies/a.json", data)
    assert ledger.study("a") is None
    assert StudyResults.load(ledger, "a") is None


GRID = study(sweep={"weight": [1.0, 2.0]}, base={"attach": True})
RESULTS = ("records.parquet", "result.json", "attachment.bin")


@pytest.mark.parametrize("name", [*RESULTS, "studies/a.json"])
@pytest.mark.parametrize("damage", [torn, flipped, lambda data: b"[]"])
def test_whatever_is_damaged_is_run_again_to_the_same_bytes(tmp_path, optuna_db, name, damage):
    lab = Lab(tmp_path)
    lab.run(GRID)
    before = {path: data for path, data in files_of(lab.ledger).items() if path.endswith(RESULTS)}
    path = min(path for path in files_of(lab.ledger) if path.endswith(name))
    put(lab.ledger, path, damage(files_of(lab.ledger)[path]))
    report = lab.run(GRID)
    assert report.state == "done"
    assert report.last_run.blocks_executed == (0 if name.startswith("studies") else 1)
    after = files_of(lab.ledger)
    assert {path: data for path, data in after.items() if path.endswith(RESULTS)} == before
