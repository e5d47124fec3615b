"""The ledger: results and checkpoints, addressed by what they are results of.

Layout, on any fsspec URI::

    blocks/<id[:2]>/<id>/records.parquet   the records, in order
                         attachment.bin    what the block produced beside them, if it did
                         result.json       written last: it is there, so the block is complete
                         attempt.json      when, where and how; no part of the result
                         points.json       points of running curves, with their timestamps
    work/<id>/segment-<position>.parquet   records of a block under way, piece by piece
              points-<position>.json       points of running curves, with their timestamps
              state-<position>.bin         written last: from here the block can go on
              claim.json                   whose the block is while it is worked on
    sessions/<name>.json                   drivers at work
    studies/<study>.json                   what the driver remembers of a study

Everything is written under a temporary name and renamed. What is read back is checked against
the checksums in the file that was written last, which has one of itself.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.objective import Record, Resume, Segment, Summary
from orchestrator.record_tables import from_parquet, to_parquet
from orchestrator.stores import Store
from orchestrator.timed_points import TimedPoint, first_of_each, timed_point

_STATE_MAGIC = "mpn-state-1"


@dataclass(frozen=True)
class Result:
    """A complete block.

    Attributes:
        block_id: Its id.
        summaries: One per stream.
        records_sha256: Checksum of ``records.parquet``.
        n_records: Their number.
        attachment_sha256: Checksum of ``attachment.bin``; None if the block has none.
    """

    block_id: str
    summaries: Mapping[int, Summary]
    records_sha256: str
    n_records: int
    attachment_sha256: str | None = None


class Ledger:
    """Where results are remembered; workers write it before the driver hears of them."""

    def __init__(self, uri: str) -> None:
        """Open a ledger.

        Args:
            uri: A folder, or any URI that fsspec knows.
        """
        self.uri = uri
        self.store = Store(uri)

    # -- many blocks: asked about side by side where the ledger is far away -----------------

    def results(self, block_ids: Iterable[str]) -> dict[str, Result]:
        """Return the results of those blocks that have one, as :meth:`result` does of each."""
        found = self.store.together(self.result, block_ids)
        return {result.block_id: result for result in found if result is not None}

    def complete_among(self, block_ids: Iterable[str]) -> list[str]:
        """Return the blocks that :meth:`is_complete`, in the order given."""
        ids = list(block_ids)
        whole = self.store.together(self.is_complete, ids)
        return [block_id for block_id, is_whole in zip(ids, whole, strict=True) if is_whole]

    def records_of(self, block_ids: Iterable[str]) -> list[Record]:
        """Return the records of those blocks that are complete, block by block."""
        found = self.store.together(self._whole, block_ids)
        return [record for files in found if files is not None for record in from_parquet(files[0])]

    def points_of(self, block_ids: Iterable[str]) -> list[TimedPoint]:
        """Return the points of blocks, as :meth:`points` does of each."""
        return [one for points in self.store.together(self.points, block_ids) for one in points]

    def attempts(self, block_ids: Iterable[str]) -> list[Mapping[str, Any]]:
        """Return how blocks came about, as :meth:`attempt` does of each."""
        return self.store.together(self.attempt, block_ids)

    # -- one block ------------------------------------------------------------------------

    def result(self, block_id: str) -> Result | None:
        """Return a complete block's result, or None; a damaged one is as good as none."""
        content = self._read_json(f"{block_folder(block_id)}/result.json")
        try:
            if content.pop("sha256") != _sha256_of_json(content):
                return None
            return Result(
                block_id,
                {
                    int(stream): {name: (float(v), int(n)) for name, (v, n) in summary.items()}
                    for stream, summary in content["summaries"].items()
                },
                content["records_sha256"],
                content["n_records"],
                content.get("attachment_sha256"),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def is_complete(self, block_id: str) -> bool:
        """Whether a block's result is there and its files are those it was written with."""
        return self._whole(block_id) is not None

    def records(self, block_id: str) -> list[Record]:
        """Return the records of a complete block.

        Raises:
            FileNotFoundError: If the block is not complete.
        """
        return from_parquet(self._complete(block_id)[0])

    def attachment(self, block_id: str) -> bytes | None:
        """Return what a complete block produced beside its records; None if nothing.

        Raises:
            FileNotFoundError: If the block is not complete.
        """
        return self._complete(block_id)[1]

    def _complete(self, block_id: str) -> tuple[bytes, bytes | None]:
        files = self._whole(block_id)
        if files is None:
            raise FileNotFoundError(f"block {block_id} is not complete in {self.uri}")
        return files

    def _whole(self, block_id: str) -> tuple[bytes, bytes | None] | None:
        """Return records and attachment if both are what ``result.json`` speaks of."""
        result = self.result(block_id)
        if result is None:
            return None
        records = self._read(f"{block_folder(block_id)}/records.parquet")
        if records is None or _sha256(records) != result.records_sha256:
            return None
        if result.attachment_sha256 is None:
            return records, None
        attachment = self._read(f"{block_folder(block_id)}/attachment.bin")
        if attachment is None or _sha256(attachment) != result.attachment_sha256:
            return None
        return records, attachment

    def complete(
        self,
        block_id: str,
        records: Sequence[Record],
        summaries: Mapping[int, Summary],
        attempt: Mapping[str, object],
        points: Sequence[TimedPoint] = (),
        attachment: bytes | None = None,
    ) -> Result:
        """Write a block's result: records, how they came about, and last ``result.json``.

        The work files are removed after that. A block that is complete already stays as it is.

        Args:
            block_id: The block.
            records: All of them, in order.
            summaries: One per stream.
            attempt: When, where and how.
            points: Those that no checkpoint holds.
            attachment: What the block produced beside its records.
        """
        known = self.result(block_id)
        if known is not None and self.is_complete(block_id):
            return known
        data = to_parquet(records)
        attached = None if attachment is None else _sha256(attachment)
        result = Result(block_id, summaries, _sha256(data), len(records), attached)
        content: dict[str, object] = {
            "block_id": block_id,
            "n_records": result.n_records,
            "records_sha256": result.records_sha256,
            "summaries": {str(stream): summaries[stream] for stream in sorted(summaries)},
        }
        self._publish(f"{block_folder(block_id)}/records.parquet", data)
        if attachment is not None:
            content["attachment_sha256"] = attached
            self._publish(f"{block_folder(block_id)}/attachment.bin", attachment)
        self._publish_json(f"{block_folder(block_id)}/attempt.json", attempt, is_result=False)
        all_points = first_of_each([*self.points(block_id), *points])
        timed = [{**asdict(p.point), "timestamp_ms": p.timestamp_ms} for p in all_points]
        # what trials are pruned by has to last as records do
        self._publish_json(f"{block_folder(block_id)}/points.json", timed)
        content["sha256"] = _sha256_of_json(content)
        self._publish_json(f"{block_folder(block_id)}/result.json", content)
        self.discard_work(block_id)
        return result

    def attempt(self, block_id: str) -> Mapping[str, Any]:
        """Return how a complete block came about: timings, host, attempt; may be empty."""
        content = self._read_json(f"{block_folder(block_id)}/attempt.json")
        return content if isinstance(content, dict) else {}

    # -- work under way -------------------------------------------------------------------

    def checkpoint(
        self, block_id: str, segment: Segment, timestamp_ms: int, *, after: int = 0
    ) -> int:
        """Keep a segment, so that the block can go on behind it.

        The first to measure a point decides its timestamp: a segment that is made again after
        a crash keeps the points that are already there.

        Args:
            block_id: The block.
            segment: What was done since the checkpoint before.
            timestamp_ms: When its points were measured.
            after: Position of the checkpoint before; 0 if there is none. Others may lie between,
                damaged or left by another worker; they are no part of this one's records.

        Returns:
            Bytes of records and state that were written.

        Raises:
            ValueError: If the checkpoint before is damaged.
        """
        work, position = work_folder(block_id), segment.position
        records, state = to_parquet(segment.records), segment.state()
        self._publish(f"{work}/segment-{position:08d}.parquet", records)
        if self._read_json(f"{work}/points-{position:08d}.json") is None:
            points = [{**asdict(point), "timestamp_ms": timestamp_ms} for point in segment.points]
            self._publish_json(f"{work}/points-{position:08d}.json", points)
        before = self._state(block_id, after)[0]["segments"] if after else {}
        header = {
            "magic": _STATE_MAGIC,
            "position": position,
            "segments": {**before, str(position): _sha256(records)},
            "state_sha256": _sha256(state),
        }
        head = json.dumps(header, sort_keys=True).encode()
        self._publish(f"{work}/state-{position:08d}.bin", head + b"\n" + state)
        return len(records) + len(head) + 1 + len(state)

    def resume(self, block_id: str) -> tuple[Resume, list[Record]] | None:
        """Return the last checkpoint of a block that is whole, and the records up to it."""
        for position in reversed(self._state_positions(block_id)):
            try:
                header, state = self._state(block_id, position)
                records: list[Record] = []
                for number, digest in sorted(header["segments"].items(), key=_as_number):
                    part = self._read(f"{work_folder(block_id)}/segment-{int(number):08d}.parquet")
                    if part is None or _sha256(part) != digest:
                        raise ValueError(f"segment {number} is damaged")
                    records += from_parquet(part)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
            return Resume(position, state), records
        return None

    def position(self, block_id: str) -> int:
        """Return how far a block's last checkpoint is, whole or not; 0 if there is none."""
        return max(self._state_positions(block_id), default=0)

    def points(self, block_id: str, *, behind: int = 0) -> list[TimedPoint]:
        """Return the points of a block so far, in order; those that are damaged are left out.

        Args:
            block_id: The block.
            behind: Checkpoints up to this position are left out while the block is under way.
        """
        contents = self._read_json(f"{block_folder(block_id)}/points.json")
        if contents is None:
            names = self._names(work_folder(block_id), "points-", ".json")
            names = [name for name in names if name > f"points-{behind:08d}.json"]
            parts = [self._read_json(f"{work_folder(block_id)}/{name}") for name in names]
            contents = [content for part in parts if isinstance(part, list) for content in part]
        if not isinstance(contents, list):
            contents = []
        return first_of_each(filter(None, map(timed_point, contents)))

    def _state_positions(self, block_id: str) -> list[int]:
        names = self._names(work_folder(block_id), "state-", ".bin")
        numbers = [name.removeprefix("state-").removesuffix(".bin") for name in names]
        return [int(number) for number in numbers if number.isdecimal()]

    def _state(self, block_id: str, position: int) -> tuple[dict[str, Any], bytes]:
        """Return header and state of one checkpoint; ValueError if it is damaged."""
        data = self._read(f"{work_folder(block_id)}/state-{position:08d}.bin") or b""
        head, _, state = data.partition(b"\n")
        header: dict[str, Any] = json.loads(head)
        if header["magic"] != _STATE_MAGIC or header["state_sha256"] != _sha256(state):
            raise ValueError(f"state {position} of block {block_id} is damaged")
        return header, state

    def discard_work(self, block_id: str) -> None:
        """Forget all checkpoints of a block."""
        self.store.remove_folder(work_folder(block_id))

    # -- what the driver remembers --------------------------------------------------------

    def study(self, name: str) -> dict[str, Any] | None:
        """Return what is remembered of a study, or None."""
        content = self._read_json(f"studies/{name}.json")
        return content if isinstance(content, dict) else None

    def remember_study(
        self, name: str, content: Mapping[str, object], *, trials: Sequence[str] | None = None
    ) -> None:
        """Remember a study, in place of what was remembered before.

        Args:
            name: Its name.
            content: What is remembered.
            trials: JSON of each of its trials, for the key ``trials``: a large study is written
                again and again, and most of it has not changed.
        """
        text = _json(content)
        if trials is not None:
            text = text.removesuffix("\n}") + ',\n "trials": [\n' + ",\n".join(trials) + "\n ]\n}"
        self._publish(f"studies/{name}.json", text.encode() + b"\n")

    def study_names(self) -> list[str]:
        """Return the names of all remembered studies."""
        return [name.removesuffix(".json") for name in self._names("studies", "", ".json")]

    # -- notes that drivers leave each other ----------------------------------------------

    def note(self, folder: str, name: str, content: Mapping[str, object]) -> None:
        """Leave a small note that is no part of a result, in place of one of the same name."""
        self._publish_json(f"{folder}/{name}.json", content, is_result=False)

    def read_note(self, folder: str, name: str) -> Any:
        """Return a note, or None."""
        return self._read_json(f"{folder}/{name}.json")

    def notes(self, folder: str) -> Iterator[tuple[str, Any]]:
        """Return names and contents of all notes in a folder."""
        for file in self._names(folder, "", ".json"):
            name = file.removesuffix(".json")
            content = self.read_note(folder, name)
            if content is not None:
                yield name, content

    def forget_note(self, folder: str, name: str) -> None:
        """Take a note away, if it is there."""
        self.store.remove(f"{folder}/{name}.json")

    # -- files ----------------------------------------------------------------------------

    def _publish(self, name: str, data: bytes, *, is_result: bool = True) -> None:
        """Write a file; what is no part of a result need not outlast a loss of power."""
        self.store.write(name, data, outlasts_power=is_result)

    def _publish_json(self, name: str, content: object, *, is_result: bool = True) -> None:
        self._publish(name, _json(content).encode() + b"\n", is_result=is_result)

    def _read(self, name: str) -> bytes | None:
        return self.store.read(name)

    def _read_json(self, name: str) -> Any:
        data = self._read(name)
        try:
            return None if data is None else json.loads(data)
        except (ValueError, RecursionError):  # nested as no writer of ours does
            return None

    def _names(self, folder: str, prefix: str, suffix: str) -> list[str]:
        return self.store.names(folder, prefix, suffix)


def block_folder(block_id: str) -> str:
    """Return where in the store a complete block is."""
    return f"blocks/{block_id[:2]}/{block_id}"


def work_folder(block_id: str) -> str:
    """Return where in the store the work at a block is while it is under way."""
    return f"work/{block_id}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sha256_of_json(content: object) -> str:
    return _sha256(_json(content).encode())


def _json(content: object) -> str:
    return json.dumps(content, allow_nan=False, ensure_ascii=False, indent=1)


def _as_number(pair: tuple[str, object]) -> int:
    return int(pair[0])
