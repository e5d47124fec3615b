"""What tests of the orchestrator share."""

import shutil
import sqlite3

import optuna
import pytest
import sqlalchemy


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_disks():
    """Let SQLite trust the system to write: no test cuts the power."""

    def trust(connection, record):
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", trust)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", trust)


@pytest.fixture(scope="session")
def _empty_optuna(tmp_path_factory):
    """A database with Optuna's tables and nothing in them; making the tables takes a while."""
    path = tmp_path_factory.mktemp("optuna") / "optuna.db"
    optuna.get_all_study_summaries(f"sqlite:///{path}")
    return path


@pytest.fixture
def optuna_db(tmp_path, _empty_optuna):
    """Path of an empty Optuna database in ``tmp_path``, where a home has it."""
    return shutil.copy(_empty_optuna, tmp_path / "optuna.db")
