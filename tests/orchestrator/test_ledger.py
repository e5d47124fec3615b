import json
import threading
import uuid
from pathlib import Path

import fsspec
import pytest

from orchestrator.ledger import Ledger
from orchestrator.objective import Point, Record, Resume, Segment
from orchestrator.timed_points import TimedPoint

BLOCK = "ab" + "0" * 62
RECORDS = [
    Record(0, 0, "a", "score", "ru", 0.25, 4),
    Record(0, 1, "b", "score", "中文", 0.5, 4, seen=True),
    Record(0, -1, "", "score", "", 0.1 + 0.2, 8),
]
SUMMARIES = {0: {"score": (0.1 + 0.2, 8), "score/ru": (0.25, 4)}}


@pytest.fixture(params=["folder", "memory", "s3"])
def ledger(request, tmp_path):
    if request.param == "folder":
        return Ledger(str(tmp_path / "ledger"))
    if request.param == "memory":
        return Ledger(f"memory://{uuid.uuid4().hex}")
    return Ledger(request.getfixturevalue("s3").fresh_uri())


def record(position):
    return Record(0, position, f"item-{position}", "score", "", position / 8, 1)


def segment(begin, end, *, total=8):
    """Units ``begin`` to ``end`` of a block: a record and a point each; the state names the end."""
    return Segment(
        end,
        total,
        tuple(record(position) for position in range(begin, end)),
        tuple(Point(0, "score", position, position / 8) for position in range(begin, end)),
        lambda: b"at %d\nwith a second line" % end,
    )


def resume_at(position):
    """What ``resume`` returns there."""
    return (
        Resume(position, b"at %d\nwith a second line" % position),
        [record(i) for i in range(position)],
    )


def opened(ledger):
    """The ledger's files as somebody else sees them, with nothing remembered."""
    files, root = fsspec.core.url_to_fs(ledger.uri)
    files.invalidate_cache()
    return files, root


def files_of(ledger):
    """Every file of the ledger, name to content."""
    files, root = opened(ledger)
    found = files.find(root) if files.exists(root) else []
    return {path.removeprefix(root).lstrip("/"): files.cat_file(path) for path in found}


def put(ledger, name, data):
    """Write a file behind the ledger's back; None removes it."""
    files, root = opened(ledger)
    [path] = [path for path in files.find(root) if path.endswith(name)]
    if data is None:
        files.rm(path)
    else:
        files.pipe_file(path, data)


def content(ledger, name):
    [data] = [data for path, data in files_of(ledger).items() if path.endswith(name)]
    return data


def flipped(data):
    """The same with its last bit the other way round."""
    return data[:-1] + bytes([data[-1] ^ 1])


def torn(data):
    return data[: len(data) // 2]


def gone(data):
    return None


def times_of(ledger):
    """Steps and timestamps of the block's points."""
    return [(timed.point.step, timed.timestamp_ms) for timed in ledger.points(BLOCK)]


class TestLedger:
    """The contract of the ledger, wherever its files are."""

    # -- blocks -------------------------------------------------------------------------------

    def test_of_an_unknown_block_there_is_nothing(self, ledger):
        assert ledger.result(BLOCK) is None
        assert not ledger.is_complete(BLOCK)
        assert ledger.resume(BLOCK) is None
        assert ledger.points(BLOCK) == []
        assert ledger.attempt(BLOCK) == {}
        with pytest.raises(FileNotFoundError, match=BLOCK):
            ledger.records(BLOCK)

    def test_a_complete_block_reads_back_to_the_last_bit(self, ledger):
        written = ledger.complete(BLOCK, RECORDS, SUMMARIES, {"attempt": 2, "worker": "here:1"})
        assert ledger.is_complete(BLOCK)
        assert ledger.records(BLOCK) == RECORDS
        assert ledger.result(BLOCK) == written
        assert written.summaries == SUMMARIES
        assert written.n_records == 3
        assert ledger.attempt(BLOCK) == {"attempt": 2, "worker": "here:1"}

    def test_another_ledger_object_sees_the_same(self, ledger):
        written = ledger.complete(BLOCK, RECORDS, SUMMARIES, {})
        assert Ledger(ledger.uri).result(BLOCK) == written

    def test_complete_means_that_result_json_is_in_place(self, ledger):
        ledger.complete(BLOCK, RECORDS, SUMMARIES, {})
        last = content(ledger, "result.json")
        put(ledger, "result.json", None)
        assert ledger.result(BLOCK) is None
        assert not ledger.is_complete(BLOCK)
        with pytest.raises(FileNotFoundError):
            ledger.records(BLOCK)

        files, root = fsspec.core.url_to_fs(ledger.uri)
        files.pipe_file(f"{root}/blocks/{BLOCK[:2]}/{BLOCK}/result.json", last)
        assert ledger.is_complete(BLOCK)

    def test_many_blocks_are_asked_about_at_once(self, ledger):
        names = ["whole", "damaged", "unknown", "other"]
        ids = {name: f"{number:064x}" for number, name in enumerate(names)}
        for number, name in enumerate(("whole", "damaged", "other")):
            at = [TimedPoint(Point(0, "score", number, 0.5), 1_000)]
            ledger.complete(ids[name], [record(number)], SUMMARIES, {"attempt": number}, at)
        put(ledger, f"{ids['damaged']}/records.parquet", b"")
        asked = [ids[name] for name in reversed(names)]
        whole = [ids["other"], ids["whole"]]
        assert ledger.complete_among(asked) == whole
        assert ledger.records_of(asked) == [record(2), record(0)]
        assert list(ledger.results(asked)) == [ids["other"], ids["damaged"], ids["whole"]]
        assert ledger.results(whole)[ids["whole"]] == ledger.result(ids["whole"])
        assert [timed.point.step for timed in ledger.points_of(asked)] == [2, 1, 0]
        assert ledger.attempts(asked) == [{"attempt": 2}, {}, {"attempt": 1}, {"attempt": 0}]

    def test_a_result_that_was_changed_is_none(self, ledger):
        ledger.complete(BLOCK, RECORDS, SUMMARIES, {})
        put(ledger, "result.json", content(ledger, "result.json").replace(b"0.25", b"0.75"))
        assert ledger.result(BLOCK) is None
        assert not ledger.is_complete(BLOCK)
        ledger.complete(BLOCK, RECORDS, SUMMARIES, {})
        assert ledger.result(BLOCK).summaries == SUMMARIES

    @pytest.mark.parametrize("damage", [torn, flipped, gone])
    def test_a_block_with_damaged_records_is_not_complete_until_it_is_written_again(
        self, ledger, damage
    ):
        ledger.complete(BLOCK, RECORDS, SUMMARIES, {})
        before = files_of(ledger)
        put(ledger, "records.parquet", damage(content(ledger, "records.parquet")))
        assert not ledger.is_complete(BLOCK)
        with pytest.raises(FileNotFoundError):
            ledger.records(BLOCK)

        ledger.complete(BLOCK, RECORDS, SUMMARIES, {})
        assert files_of(ledger) == before

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b"\xff",
            b'{"summaries": 3}',
            b'{"summaries": {"0": {"a": [1]}}}',
        ],
    )
    def test_a_damaged_result_is_as_good_as_none(self, ledger, data):
        ledger.complete(BLOCK, RECORDS, SUMMARIES, {})
        put(ledger, "result.json", data)
        assert ledger.result(BLOCK) is None
        assert not ledger.is_complete(BLOCK)

    def test_what_is_complete_stays_as_it_is(self, ledger):
        first = ledger.complete(BLOCK, RECORDS, SUMMARIES, {"attempt": 1})
        before = files_of(ledger)
        assert ledger.complete(BLOCK, RECORDS[:1], {0: {}}, {"attempt": 2}) == first
        assert files_of(ledger) == before

    def test_a_complete_block_leaves_no_work_files(self, ledger):
        ledger.checkpoint(BLOCK, segment(0, 3), 1000)
        ledger.checkpoint(BLOCK, segment(3, 8), 2000, after=3)
        ledger.complete(BLOCK, RECORDS, SUMMARIES, {})
        folder = f"blocks/{BLOCK[:2]}/{BLOCK}"
        assert sorted(files_of(ledger)) == [
            f"{folder}/attempt.json",
            f"{folder}/points.json",
            f"{folder}/records.parquet",
            f"{folder}/result.json",
        ]
        assert ledger.resume(BLOCK) is None

    def test_a_value_that_is_no_number_completes_nothing(self, ledger):
        with pytest.raises(ValueError, match="JSON"):
            ledger.complete(BLOCK, RECORDS, {0: {"score": (float("nan"), 1)}}, {})
        assert not ledger.is_complete(BLOCK)

    # -- attachments --------------------------------------------------------------------------

    def test_a_block_keeps_what_it_produced_beside_its_records(self, ledger):
        written = ledger.complete(BLOCK, RECORDS, SUMMARIES, {}, attachment=b"one\n\x00two")
        assert ledger.attachment(BLOCK) == b"one\n\x00two"
        assert ledger.is_complete(BLOCK)
        assert ledger.records(BLOCK) == RECORDS
        assert ledger.result(BLOCK) == written

    def test_an_empty_attachment_is_one(self, ledger):
        ledger.complete(BLOCK, RECORDS, SUMMARIES, {}, attachment=b"")
        assert ledger.attachment(BLOCK) == b""

    def test_a_block_without_an_attachment_names_none(self, ledger):
        ledger.complete(BLOCK, RECORDS, SUMMARIES, {})
        assert ledger.attachment(BLOCK) is None
        assert set(json.loads(content(ledger, "result.json"))) == {
            "block_id",
            "n_records",
            "records_sha256",
            "sha256",
            "summaries",
        }

    def test_there_is_no_attachment_of_a_block_that_is_not_complete(self, ledger):
        with pytest.raises(FileNotFoundError, match=BLOCK):
            ledger.attachment(BLOCK)

    @pytest.mark.parametrize("damage", [torn, flipped, gone])
    def test_a_block_with_a_damaged_attachment_is_not_complete_until_it_is_written_again(
        self, ledger, damage
    ):
        ledger.complete(BLOCK, RECORDS, SUMMARIES, {}, attachment=b"the product")
        before = files_of(ledger)
        put(ledger, "attachment.bin", damage(content(ledger, "attachment.bin")))
        assert not ledger.is_complete(BLOCK)
        with pytest.raises(FileNotFoundError):
            ledger.attachment(BLOCK)

        ledger.complete(BLOCK, RECORDS, SUMMARIES, {}, attachment=b"the product")
        assert files_of(ledger) == before

    # -- work under way -----------------------------------------------------------------------

    def test_a_block_goes_on_from_its_last_checkpoint_with_the_records_so_far(self, ledger):
        ledger.checkpoint(BLOCK, segment(0, 2), 1000)
        assert ledger.resume(BLOCK) == resume_at(2)
        ledger.checkpoint(BLOCK, segment(2, 5), 2000, after=2)
        assert ledger.resume(BLOCK) == resume_at(5)
        assert not ledger.is_complete(BLOCK)

    def test_positions_are_ordered_as_numbers(self, ledger):
        ledger.checkpoint(BLOCK, segment(0, 9, total=12), 1000)
        ledger.checkpoint(BLOCK, segment(9, 10, total=12), 1000, after=9)
        assert ledger.resume(BLOCK) == resume_at(10)

    @pytest.mark.parametrize("damage", [torn, flipped, gone])
    @pytest.mark.parametrize("name", ["state-00000005.bin", "segment-00000005.parquet"])
    def test_a_damaged_checkpoint_falls_back_to_the_one_before(self, ledger, name, damage):
        ledger.checkpoint(BLOCK, segment(0, 2), 1000)
        ledger.checkpoint(BLOCK, segment(2, 5), 2000, after=2)
        put(ledger, name, damage(content(ledger, name)))
        assert ledger.resume(BLOCK) == resume_at(2)

    def test_a_segment_with_other_records_than_were_checkpointed_is_damaged(self, ledger):
        ledger.checkpoint(BLOCK, segment(0, 2), 1000)
        ledger.checkpoint(BLOCK, segment(2, 5), 2000, after=2)
        put(ledger, "segment-00000005.parquet", content(ledger, "segment-00000002.parquet"))
        assert ledger.resume(BLOCK) == resume_at(2)

    @pytest.mark.parametrize("data", [b"", b"[]\nat 2", b'{"magic": "other"}\nat 2', b"{}\nat 2"])
    def test_a_state_that_is_none_of_ours_is_as_good_as_none(self, ledger, data):
        ledger.checkpoint(BLOCK, segment(0, 2), 1000)
        put(ledger, "state-00000002.bin", data)
        assert ledger.resume(BLOCK) is None

    def test_a_damaged_first_segment_spoils_all_checkpoints_that_build_on_it(self, ledger):
        ledger.checkpoint(BLOCK, segment(0, 2), 1000)
        ledger.checkpoint(BLOCK, segment(2, 5), 2000, after=2)
        put(ledger, "segment-00000002.parquet", torn(content(ledger, "segment-00000002.parquet")))
        assert ledger.resume(BLOCK) is None

    @pytest.mark.parametrize("name", ["state-00000005.bin", "segment-00000005.parquet"])
    def test_work_goes_on_past_a_damaged_checkpoint_without_counting_anything_twice(
        self, ledger, name
    ):
        ledger.checkpoint(BLOCK, segment(0, 2), 1000)
        ledger.checkpoint(BLOCK, segment(2, 5), 2000, after=2)
        put(ledger, name, torn(content(ledger, name)))
        ledger.checkpoint(BLOCK, segment(2, 7), 3000, after=2)  # 2 is where resume sent it
        assert ledger.resume(BLOCK) == resume_at(7)

    def test_two_workers_at_one_block_do_not_mix_their_records(self, ledger):
        ledger.checkpoint(BLOCK, segment(0, 2), 1000)
        ledger.checkpoint(BLOCK, segment(0, 3), 1500)  # another, that began at the same time
        ledger.checkpoint(BLOCK, segment(2, 5), 2000, after=2)
        assert ledger.resume(BLOCK) == resume_at(5)
        ledger.checkpoint(BLOCK, segment(3, 6), 2500, after=3)
        assert ledger.resume(BLOCK) == resume_at(6)

    def test_discarded_work_begins_anew(self, ledger):
        ledger.checkpoint(BLOCK, segment(0, 2), 1000)
        ledger.discard_work(BLOCK)
        ledger.discard_work(BLOCK)
        assert ledger.resume(BLOCK) is None
        assert files_of(ledger) == {}

    def test_all_of_a_long_blocks_work_is_discarded(self, ledger):
        files, root = opened(ledger)
        work = {f"{root}/work/{BLOCK}/points-{n:08d}.json": b"[]" for n in range(3, 60)}
        files.makedirs(f"{root}/work/{BLOCK}", exist_ok=True)
        files.pipe(work)  # our S3 lists 20 at a time
        ledger.checkpoint(BLOCK, segment(0, 2), 1000)
        assert len(files_of(ledger)) == 57 + 3
        ledger.discard_work(BLOCK)
        assert files_of(ledger) == {}

    def test_what_another_process_writes_and_removes_is_seen_at_once(self, ledger):
        ledger.checkpoint(BLOCK, segment(0, 2), 1000)
        assert ledger.resume(BLOCK) == resume_at(2)  # has listed the folder
        files, root = fsspec.core.url_to_fs(ledger.uri, skip_instance_cache=True)
        old, new = (f"{root}/work/{BLOCK}/state-{n:08d}.bin" for n in (2, 7))
        files.pipe_file(new, files.cat_file(old))
        files.rm_file(old)
        assert ledger._state_positions(BLOCK) == [7]
        ledger.discard_work(BLOCK)
        assert files_of(ledger) == {}

    def test_work_of_one_block_says_nothing_of_another(self, ledger):
        ledger.checkpoint(BLOCK, segment(0, 2), 1000)
        assert ledger.resume("cd" + BLOCK[2:]) is None

    # -- points -------------------------------------------------------------------------------

    def test_points_keep_their_timestamps_when_the_block_completes(self, ledger):
        ledger.checkpoint(BLOCK, segment(0, 2), 1000)
        ledger.checkpoint(BLOCK, segment(2, 3), 2000, after=2)
        expected = [(0, 1000), (1, 1000), (2, 2000)]
        assert times_of(ledger) == expected
        ledger.complete(BLOCK, RECORDS, SUMMARIES, {})
        assert times_of(ledger) == expected
        assert ledger.points(BLOCK)[1] == TimedPoint(Point(0, "score", 1, 0.125), 1000)

    def test_a_segment_that_is_made_again_keeps_the_first_timestamps(self, ledger):
        ledger.checkpoint(BLOCK, segment(0, 2), 1000)
        put(ledger, "state-00000002.bin", None)  # as if killed before it was written
        ledger.checkpoint(BLOCK, segment(0, 2), 5000)
        assert times_of(ledger) == [(0, 1000), (1, 1000)]

    def test_points_of_overlapping_segments_count_once_with_their_first_timestamps(self, ledger):
        ledger.checkpoint(BLOCK, segment(0, 3), 1000)
        put(ledger, "state-00000003.bin", None)
        ledger.checkpoint(BLOCK, segment(0, 2), 5000)
        ledger.checkpoint(BLOCK, segment(2, 4), 6000, after=2)
        assert times_of(ledger) == [(0, 1000), (1, 1000), (2, 1000), (3, 6000)]

    def test_points_of_different_streams_and_metrics_are_different(self, ledger):
        points = (Point(0, "a", 0, 1.0), Point(0, "b", 0, 1.0), Point(1, "a", 0, 1.0))
        ledger.checkpoint(BLOCK, Segment(1, 1, (), points, bytes), 1000)
        assert [timed.point for timed in ledger.points(BLOCK)] == list(points)

    # -- studies ------------------------------------------------------------------------------

    def test_a_study_is_remembered_in_place_of_what_was_remembered_before(self, ledger):
        assert ledger.study("b") is None
        assert ledger.study_names() == []
        ledger.remember_study("b", {"state": "running", "trials": []})
        ledger.remember_study("b", {"state": "done"})
        ledger.remember_study("a", {"question": "Größer?"})
        assert ledger.study("b") == {"state": "done"}
        assert ledger.study("a") == {"question": "Größer?"}
        assert ledger.study_names() == ["a", "b"]

    def test_a_study_keeps_the_order_of_its_mappings(self, ledger):
        ledger.remember_study("a", {"z": 1, "a": {"y": 2, "b": 3}})
        assert json.dumps(ledger.study("a")) == '{"z": 1, "a": {"y": 2, "b": 3}}'

    def test_a_torn_study_is_as_good_as_none(self, ledger):
        ledger.remember_study("a", {"state": "done"})
        put(ledger, "a.json", b'{"state"')
        assert ledger.study("a") is None

    @pytest.mark.parametrize(
        "trials", [[], [{"number": 0}], [{"number": 0}, {"number": 1, "x": "ü"}]]
    )
    def test_trials_of_a_study_can_come_as_json(self, ledger, trials):
        texts = [json.dumps(trial, ensure_ascii=False) for trial in trials]
        ledger.remember_study("a", {"state": "running"}, trials=texts)
        assert ledger.study("a") == {"state": "running", "trials": trials}

    def test_points_that_no_checkpoint_holds_come_with_the_result(self, ledger):
        ledger.checkpoint(BLOCK, segment(0, 2), 1_000)
        again = [TimedPoint(Point(0, "score", step, step / 8), 2_000) for step in (1, 2)]
        ledger.complete(BLOCK, [record(0)], {0: {}}, {}, again)
        times = {timed.point.step: timed.timestamp_ms for timed in ledger.points(BLOCK)}
        assert times == {0: 1_000, 1: 1_000, 2: 2_000}


def test_what_is_asked_of_a_far_ledger_is_asked_side_by_side():
    store = Ledger(f"memory://{uuid.uuid4().hex}").store
    meeting = threading.Barrier(4, timeout=20)
    at = store.together(lambda name: (name, meeting.wait())[0], ["d", "a", "c", "b"])
    assert at == ["d", "a", "c", "b"]
    assert store.together(str.upper, ()) == []


def test_the_same_result_is_the_same_bytes_whoever_worked_it_out(tmp_path):
    here, there = Ledger(str(tmp_path / "here")), Ledger(str(tmp_path / "there"))
    here.checkpoint(BLOCK, segment(0, 8), 1000)
    here.complete(BLOCK, RECORDS, {0: {}, 1: {}}, {"worker": "a", "finished_s": 1.0})
    there.complete(BLOCK, RECORDS, {1: {}, 0: {}}, {"worker": "b", "finished_s": 2.0})
    for name in ("records.parquet", "result.json"):
        assert content(here, name) == content(there, name)


def test_a_file_is_there_whole_or_as_it_was(tmp_path, monkeypatch):
    ledger = Ledger(str(tmp_path))
    ledger.remember_study("a", {"state": "running"})

    def fail(self, target):
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        ledger.remember_study("a", {"state": "done"})
    assert ledger.study("a") == {"state": "running"}
    assert list(files_of(ledger)) == ["studies/a.json"]  # and nothing half written


def test_a_bucket_that_is_not_there_is_not_made(s3):
    ledger = Ledger("s3://another-bucket/ledger")
    with pytest.raises(FileNotFoundError, match="bucket does not exist"):
        ledger.remember_study("a", {})
    assert ledger.study("a") is None
