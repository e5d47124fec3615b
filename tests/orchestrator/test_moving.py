"""A study moves as one file, whole or not at all."""

import hashlib
import io
import json
import tarfile

import pytest
from sweep_lab import Killed, Lab, study

from orchestrator.errors import InputError
from orchestrator.moving import export_study, import_study, opened_archive
from orchestrator.stores import Store

STUDY = study(sweep={"weight": [1.0, 2.0]}, base={"units": 4})  # 2 trials of 2 blocks of 4 units


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("finished"))
    lab.run(STUDY)
    return lab


@pytest.fixture
def there(tmp_path):
    return Lab(tmp_path / "there")


@pytest.fixture(scope="module")
def halfway(tmp_path_factory):
    """A home in which the driver was killed in the middle of the second block."""
    lab = Lab(tmp_path_factory.mktemp("halfway"))
    lab.kill_at = 6
    with pytest.raises(Killed):
        lab.run(STUDY, checkpoint_every_s=0.0)
    return lab


@pytest.fixture
def archive(halfway, tmp_path):
    path = tmp_path / "a.tar"
    moved = export_study(halfway.ledger, "a", path)
    assert (moved.study, moved.blocks, moved.under_way) == ("a", 1, 1)
    return path


def bring(path, ledger):
    with opened_archive(path) as incoming:
        return import_study(incoming, ledger)


def everything(lab):
    folder = lab.folder / "ledger"
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_study_goes_on_elsewhere_to_the_same_records(archive, there, finished):
    assert bring(archive, there.ledger).kept == 0
    there.run(STUDY)
    assert len(there.units) == 16 - 6  # what had been done was not done again
    assert there.result_files() == finished.result_files()


def test_an_archive_is_the_same_bytes_whenever_it_is_written(halfway, archive, tmp_path):
    export_study(halfway.ledger, "a", tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()


def test_nobodys_claims_or_sessions_are_taken_along(archive):
    with tarfile.open(archive) as tar:
        names = [name.rsplit("/", 1)[-1] for name in tar.getnames()]
    assert "claim.json" not in names and "result.json" in names
    assert names[0] == "study.json" and names[-2:] == ["manifest.json", "manifest.sha256"]


def test_importing_twice_changes_nothing(archive, there):
    bring(archive, there.ledger)
    before = everything(there)
    assert bring(archive, there.ledger).kept == 2
    assert everything(there) == before


def test_what_is_here_and_further_stays(archive, there, finished, tmp_path):
    there.run(STUDY)
    before = everything(there)
    assert bring(archive, there.ledger).kept == 2
    assert everything(there) == before


def test_a_later_archive_brings_what_is_missing(archive, there, finished, tmp_path):
    bring(archive, there.ledger)
    export_study(finished.ledger, "a", tmp_path / "whole.tar")
    moved = bring(tmp_path / "whole.tar", there.ledger)
    assert (moved.blocks, moved.under_way, moved.kept) == (4, 0, 1)
    assert there.result_files() == finished.result_files()


def test_work_that_is_further_takes_the_place_of_work_that_is_less_far(archive, there, halfway):
    lab = there
    lab.kill_at = 5
    with pytest.raises(Killed):
        lab.run(STUDY, checkpoint_every_s=0.0)
    [block] = {p.parent.name for p in (lab.folder / "ledger" / "work").glob("*/state-*.bin")}
    assert lab.ledger.resume(block)[0].position == 1
    bring(archive, lab.ledger)
    assert lab.ledger.resume(block) == halfway.ledger.resume(block)


def test_another_study_of_that_name_is_not_touched(archive, there):
    there.run(study(sweep={"weight": [7.0]}))
    before = everything(there)
    with pytest.raises(InputError, match="here already, with other trials"):
        bring(archive, there.ledger)
    assert everything(there) == before


def test_other_records_of_a_block_are_a_reason_to_stop(archive, there, halfway):
    [path] = (halfway.folder / "ledger").rglob("result.json")
    block = path.parent.name
    records = halfway.ledger.records(block)
    there.ledger.complete(block, records[:1], {0: {}}, {})
    before = everything(there)
    with pytest.raises(InputError, match=f"block {block} has other records here"):
        bring(archive, there.ledger)
    assert everything(there) == before


# -- archives that are not what was written -----------------------------------------------


def rewritten(path, change):
    """The archive with its members changed: (name, data) to what stands in its place."""
    with tarfile.open(path) as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar.getmembers()]
    with tarfile.open(path, "w") as tar:
        for member, data in change(members):
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def sealed(members):
    """The same with a manifest that vouches for it, as somebody who knows the format can."""

    def sha256(data):
        return hashlib.sha256(data).hexdigest()

    files = [(m, d) for m, d in members if not m.name.startswith("manifest.")]
    content = {"format": "mpn-archive-1", "about": {"study": "a"}}
    content["files"] = {member.name: sha256(data) for member, data in files}
    text = json.dumps(content).encode()
    return [
        *files,
        (tarfile.TarInfo("manifest.json"), text),
        (tarfile.TarInfo("manifest.sha256"), sha256(text).encode()),
    ]


def refusal(path, ledger):
    with pytest.raises(InputError) as error:
        bring(path, ledger)
    assert error.value.exit_code == 2
    said = str(error.value)
    assert "Nothing was imported." in said and str(path) in said
    return said


def test_a_bit_that_flipped_anywhere_is_found(archive, there):
    whole = archive.read_bytes()
    with tarfile.open(archive) as tar:
        places = [m.offset_data + m.size // 2 for m in tar.getmembers()]
        places += [m.offset + 3 for m in tar.getmembers()]  # in the names
    for place in places:
        archive.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        refusal(archive, there.ledger)
    assert everything(there) == {}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_an_archive_that_was_cut_off_is_refused(archive, there, share):
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole.rstrip(b"\0")) * share)])
    refusal(archive, there.ledger)
    assert everything(there) == {}


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../outside", "blocks/../../x", "work/x/state-00000001.bin", "studies/b.json"],
)
def test_no_file_gets_out_of_the_place_for_blocks(archive, there, tmp_path, name):
    def smuggle(members):
        return sealed([*members, (tarfile.TarInfo(name), b"x")])

    assert "belongs here" in refusal(rewritten(archive, smuggle), there.ledger)
    assert everything(there) == {}
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_only_plain_files_are_taken(archive, there, kind):
    def link(members):
        member = tarfile.TarInfo("study.json")
        member.type, member.linkname = kind, "/etc/passwd"
        return sealed([(member, b""), *members[1:]])

    assert "is not a plain file" in refusal(rewritten(archive, link), there.ledger)


def test_a_file_that_is_there_twice_is_refused(archive, there):
    assert "is in it twice" in refusal(rewritten(archive, lambda m: [*m, m[0]]), there.ledger)


def test_a_block_whose_records_are_not_its_own_is_refused_though_the_checksums_agree(
    archive, there
):
    def swap(members):
        return sealed(
            [(m, d if not m.name.endswith("records.parquet") else b"other") for m, d in members]
        )

    assert "belongs to no block that is whole" in refusal(rewritten(archive, swap), there.ledger)


@pytest.mark.parametrize("memory", [b"[]", b"{}", b"\xff", b'{"spec": {"study": "../x"}}'])
def test_a_memory_that_is_none_of_ours_is_refused(archive, there, memory):
    def replace(members):
        return sealed([(m, memory if m.name == "study.json" else d) for m, d in members])

    assert "of another version" in refusal(rewritten(archive, replace), there.ledger)


def test_what_is_no_archive_is_refused(tmp_path, there):
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary")
    assert "no archive of ours" in refusal(path, there.ledger)
    assert "No such file" in refusal(tmp_path / "missing.tar", there.ledger)
    assert "directory" in refusal(tmp_path, there.ledger)


def test_an_export_that_fails_leaves_the_file_as_it_was(halfway, tmp_path, monkeypatch):
    path = tmp_path / "a.tar"
    path.write_text("an older archive")
    read = Store.read

    def gone(self, name):
        if name.endswith("records.parquet") and len(reads) > 2:
            raise OSError("gone")
        reads.append(name)
        return read(self, name)

    reads = []
    with monkeypatch.context() as patch, pytest.raises(OSError, match="gone"):
        patch.setattr(Store, "read", gone)
        export_study(halfway.ledger, "a", path)
    assert path.read_text() == "an older archive"
    assert list(tmp_path.iterdir()) == [path]
