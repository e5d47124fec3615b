import pytest
import sqlalchemy

from orchestrator.errors import InputError
from orchestrator.home import Home
from orchestrator.services import Services, check_reachable, is_server
from orchestrator.stores import Store


def refused(asked, environment=None):
    with pytest.raises(InputError) as found:
        Services.of(asked, environment or {})
    return str(found.value)


def test_a_home_keeps_everything_in_its_folder_unless_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = Home(type(tmp_path)("here"))
    assert home.ledger == str(tmp_path / "here" / "ledger")
    assert home.optuna_uri == "sqlite:///here/optuna.db"
    assert home.mlflow_uri == "sqlite:///here/mlflow.db"
    assert home.artifacts == type(tmp_path)("here/mlartifacts")


def test_what_is_asked_for_comes_before_the_environment_and_that_before_the_home(tmp_path):
    environment = {"MPN_LEDGER": "s3://b/env", "MPN_OPTUNA": "sqlite:///env.db", "MPN_MLFLOW": ""}
    services = Services.of({"ledger": "s3://b/asked"}, environment)
    assert services == Services("s3://b/asked", "sqlite:///env.db", None)
    home = Home(tmp_path, services)
    assert (home.ledger, home.optuna_uri) == ("s3://b/asked", "sqlite:///env.db")
    assert home.mlflow_uri == f"sqlite:///{tmp_path}/mlflow.db"


def test_artifacts_are_the_servers_own_where_there_is_one(tmp_path):
    assert Home(tmp_path, Services(mlflow="https://mlflow.example.org")).artifacts is None
    database = Home(tmp_path, Services(mlflow="postgresql+psycopg://h/x"))
    assert database.artifacts == tmp_path / "mlartifacts"
    assert is_server("http://127.0.0.1:5000") and not is_server("sqlite:///x.db")


@pytest.mark.parametrize("short", ["postgres://u@h/x", "postgresql://u@h/x"])
def test_the_driver_of_postgresql_is_the_one_that_is_maintained(short):
    assert Services.of({"optuna": short}, {}).optuna == "postgresql+psycopg://u@h/x"


def test_every_uri_of_the_wrong_kind_is_said_at_once_and_without_its_password():
    said = refused(
        {"ledger": "gopher://h/x", "optuna": "not a url"}, {"MPN_MLFLOW": "odd://u:secret@h/x"}
    )
    assert said.startswith("3 problems in the command")
    assert "--ledger: 'gopher://h/x': gopher is not known to fsspec" in said
    assert "--optuna: 'not a url': not a database URL" in said
    assert "MPN_MLFLOW: 'odd://***@h/x': neither a tracking server nor a database" in said
    assert "secret" not in said


def test_a_package_that_is_missing_is_named():
    assert "the package psycopg2 is not installed" in refused(
        {"optuna": "postgresql+psycopg2://h/x"}
    )
    said = refused({"ledger": "gs://bucket/x"})
    assert "the package for gs is not installed" in said and "gcsfs" in said


def test_the_extra_is_named_where_its_packages_are_missing(monkeypatch):
    def missing(*arguments):
        raise ImportError("Install s3fs to access S3", name="psycopg")

    monkeypatch.setattr("fsspec.get_filesystem_class", missing)
    monkeypatch.setattr(
        sqlalchemy.dialects.postgresql.psycopg.PGDialect_psycopg, "import_dbapi", missing
    )
    said = refused({"ledger": "s3://b/x", "optuna": "postgresql+psycopg://h/x"})
    assert said.count("pip install 'mpn-studies[cluster]'") == 2


def test_services_that_do_not_answer_are_found_out_before_anything_starts(s3):
    services = Services(
        "s3://no-such-bucket/x", "postgresql+psycopg://u:pass-word@127.0.0.1:1/x", None
    )
    with pytest.raises(InputError) as found:
        check_reachable(services)
    said = str(found.value)
    assert "the ledger: 's3://no-such-bucket/x' cannot be used: FileNotFoundError" in said
    assert "Optuna's database: 'postgresql+psycopg://***@127.0.0.1:1/x' cannot be used" in said
    assert "pass-word" not in said


def test_services_that_answer_are_left_as_they_are(s3):
    uri = s3.fresh_uri()
    check_reachable(Services(uri, "sqlite://", "http://127.0.0.1:1"))
    assert Store(uri).names("") == []
