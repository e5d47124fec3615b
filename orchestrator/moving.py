"""A study as one file: its memory, complete blocks and work under way, to go on elsewhere."""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.archives import Archive, DamagedArchiveError, new_archive, whole_archive
from orchestrator.errors import InputError, Problem
from orchestrator.ledger import Ledger, block_folder, work_folder
from orchestrator.spec import StudySpec
from orchestrator.study_record import Entry

_MEMORY = "study.json"
_BLOCK_FILES = ("records.parquet", "attachment.bin", "attempt.json", "points.json", "result.json")
_WORK_FILES = (("segment-", ".parquet"), ("points-", ".json"), ("state-", ".bin"))
_NAME = re.compile(
    r"study\.json"
    r"|blocks/(?P<two>[0-9a-f]{2})/(?P=two)[0-9a-f]{62}"
    r"/(records\.parquet|attachment\.bin|(attempt|points|result)\.json)"
    r"|work/[0-9a-f]{64}/(segment-\d{8}\.parquet|points-\d{8}\.json|state-\d{8}\.bin)"
)
_NOTHING = "Nothing was imported."


@dataclass(frozen=True)
class Moved:
    """What was written into an archive, or taken from one.

    Attributes:
        study: Name of the study.
        blocks: Complete blocks.
        under_way: Blocks with a checkpoint.
        kept: How many of both were there already, and stayed as they were.
    """

    study: str
    blocks: int
    under_way: int
    kept: int = 0


@dataclass(frozen=True)
class Incoming:
    """What is in an archive that was found whole, as a ledger of its own.

    Attributes:
        path: The archive.
        study: Name of the study.
        ledger: Has that study, and its blocks.
    """

    path: Path
    study: str
    ledger: Ledger


def export_study(ledger: Ledger, study: str, path: Path) -> Moved:
    """Write all that a ledger holds of a study into one file; see :mod:`orchestrator.archives`.

    A block that is damaged is left out, and will run again.

    Args:
        ledger: It has such a study, which nobody drives.
        study: Its name.
        path: The file; one that is there is replaced.
    """
    memory = ledger.study(study)
    assert memory is not None
    complete, under_way = _sorted_out(ledger, _block_ids(memory))
    with new_archive(path, {"study": study}) as add:
        add(_MEMORY, json.dumps(memory, ensure_ascii=False).encode())
        for name in _names(ledger, complete, under_way):
            data = ledger.store.read(name)
            if data is not None:  # not every block has an attachment
                add(name, data)
    return Moved(study, len(complete), len(under_way))


@contextmanager
def opened_archive(path: Path) -> Iterator[Incoming]:
    """Check an archive to its last byte, and unpack it beside everything else.

    Raises:
        InputError: If it is not what an export wrote.
    """
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mpn-import-"))
            archive = stack.enter_context(whole_archive(path, _is_name))
            incoming = _unpacked(archive, path, Ledger(folder))
        except DamagedArchiveError as error:
            raise _refused(path, str(error), "a file that mpn export wrote, whole") from error
        except OSError as error:
            wanted = "a file that mpn export wrote"
            raise _refused(path, error.strerror or str(error), wanted) from error
        yield incoming


def import_study(incoming: Incoming, ledger: Ledger) -> Moved:
    """Take everything from an archive that a ledger does not have yet.

    Complete blocks stay as they are, and work under way does if it is as far. The memory of a
    study that has as many trials here stays, too: what is complete is told by its blocks.

    Args:
        incoming: The archive.
        ledger: Where to; nobody drives the study there.

    Raises:
        InputError: If another study of that name is here, or a block has other records here.
            Nothing was written then.
    """
    memory, here = incoming.ledger.study(incoming.study), ledger.study(incoming.study)
    assert memory is not None
    if here is not None and here["definition"] != memory["definition"]:
        found = f"study {incoming.study} is here already, with other trials"
        wanted = "import into another home or ledger, or rename one of the two"
        raise _refused(incoming.path, found, wanted)
    complete, under_way = _sorted_out(incoming.ledger, _block_ids(memory))
    known = ledger.complete_among(complete)
    for block_id in known:
        if ledger.result(block_id) != incoming.ledger.result(block_id):
            found = f"block {block_id} has other records here"
            wanted = "import into another home or ledger; one of the two is not to be trusted"
            raise _refused(incoming.path, found, wanted)
    as_far = [block_id for block_id in under_way if _is_as_far(ledger, incoming, block_id)]
    new = [block_id for block_id in complete if block_id not in known]
    further = [block_id for block_id in under_way if block_id not in as_far]
    for block_id in further:
        ledger.discard_work(block_id)
    for name in _names(incoming.ledger, new, further):
        data = incoming.ledger.store.read(name)
        if data is not None:
            ledger.store.write(name, data)
    if here is None or len(here["trials"]) < len(memory["trials"]):
        ledger.remember_study(incoming.study, memory)
    return Moved(incoming.study, len(complete), len(under_way), len(known) + len(as_far))


def _unpacked(archive: Archive, path: Path, ledger: Ledger) -> Incoming:
    """Put an archive's files where a ledger has them, and see that they make sense there."""
    try:
        memory = json.loads(archive.read(_MEMORY))
        study = StudySpec.model_validate(memory["spec"]).study
        ids = [b.block_id for t in memory["trials"] for b in Entry.remembered(t, bool).blocks]
        if study != archive.about["study"] or not isinstance(memory["definition"], str):
            raise ValueError("another study than it says")
    except (KeyError, TypeError, ValueError, AttributeError, ValidationError) as error:
        raise DamagedArchiveError("what it says of its study is of another version") from error
    for name in archive.names:
        if name != _MEMORY:
            ledger.store.write(name, archive.read(name), outlasts_power=False)
    ledger.remember_study(study, memory)
    complete, under_way = _sorted_out(ledger, ids)
    named = set(_names(ledger, complete, under_way))
    if stray := [name for name in archive.names if name not in {_MEMORY, *named}]:
        raise DamagedArchiveError(f"{stray[0]} belongs to no block that is whole")
    return Incoming(path, study, ledger)


def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def _sorted_out(ledger: Ledger, ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the complete blocks, and those of the others that have a checkpoint."""
    complete = ledger.complete_among(ids)
    others = sorted(set(ids) - set(complete))
    return complete, [block_id for block_id in others if ledger.resume(block_id) is not None]


def _names(ledger: Ledger, complete: Sequence[str], under_way: Sequence[str]) -> Iterator[str]:
    """Return names of files, each after all that it vouches for; some may not be there."""
    for block_id in complete:
        yield from (f"{block_folder(block_id)}/{name}" for name in _BLOCK_FILES)
    for block_id in under_way:
        folder = work_folder(block_id)
        for prefix, suffix in _WORK_FILES:
            yield from (f"{folder}/{name}" for name in ledger.store.names(folder, prefix, suffix))


def _block_ids(memory: Mapping[str, Any]) -> list[str]:
    """Return the ids of a study's blocks, each once, in order."""
    ids = (block["block_id"] for trial in memory["trials"] for block in trial["blocks"])
    return list(dict.fromkeys(ids))


def _is_as_far(ledger: Ledger, incoming: Incoming, block_id: str) -> bool:
    here, there = ledger.resume(block_id), incoming.ledger.resume(block_id)
    if ledger.is_complete(block_id) or there is None:
        return True
    return here is not None and here[0].position >= there[0].position


def _refused(path: Path, found: str, wanted: str) -> InputError:
    return InputError(str(path), [Problem("", None, found, wanted)], _NOTHING)
