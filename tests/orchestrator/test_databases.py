import sqlite3

import pytest
import sqlalchemy

from orchestrator.databases import filesystem_of, quick_commits

MOUNTS = """\
21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
35 21 0:40 / /home rw,relatime shared:3 - nfs4 server:/home rw
36 35 0:41 / /home/local rw - xfs /dev/sdb1 rw
37 36 0:42 / /home/local rw - tmpfs tmpfs rw
"""


def settings(path):
    """Journal and trust in the disk of a connection made now."""
    with sqlalchemy.create_engine(f"sqlite:///{path}").connect() as connection:
        return tuple(
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous")
        )


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/x", "ext4"),
        ("/home", "nfs4"),
        ("/home/ann/mpn-home", "nfs4"),
        ("/homestead", "ext4"),
        ("/home/local/x", "tmpfs"),
    ],
)
def test_the_innermost_and_last_mount_holds_a_path(tmp_path, path, kind):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert filesystem_of(type(tmp_path)(path), mounts) == kind


def test_where_the_system_does_not_tell_nothing_is_known(tmp_path):
    assert filesystem_of(tmp_path, tmp_path / "none") == ""


@pytest.fixture
def local(monkeypatch):
    monkeypatch.setattr("orchestrator.databases.filesystem_of", lambda path: "ext4")


def test_databases_of_the_folder_log_ahead_within_the_context_and_no_others(tmp_path, local):
    ours, other = tmp_path / "home", tmp_path / "other"
    ours.mkdir()
    other.mkdir()
    with quick_commits(ours):
        assert settings(ours / "a.db")[0] == "wal"
        assert settings(other / "a.db")[0] == "delete"
    assert settings(ours / "b.db")[0] == "delete"


def test_databases_on_a_shared_disk_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr("orchestrator.databases.filesystem_of", lambda path: "nfs4")
    with quick_commits(tmp_path):
        assert settings(tmp_path / "a.db")[0] == "delete"


def test_a_database_that_somebody_reads_stays_as_it_is(tmp_path, local):
    path = tmp_path / "a.db"
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("CREATE TABLE t (x)")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM t").fetchall()
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", connect_args={"timeout": 0})
    with quick_commits(tmp_path), engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
    reader.close()
