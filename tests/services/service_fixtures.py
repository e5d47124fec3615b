"""Fixtures of real servers, one of each a session."""

import pytest
import servers


@pytest.fixture(scope="session")
def s3():
    """An S3 server, which this process and those that it starts find by their environment."""
    with pytest.MonkeyPatch.context() as patch, servers.object_store() as store:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        servers.make_bucket(store)
        yield store


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server, or a skip that says how to have one."""
    try:
        with servers.postgres() as server:
            yield server
    except servers.MissingServerError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def mlflow_server(postgres, s3, tmp_path_factory):
    """An MLflow server with its runs in PostgreSQL and its artifacts on S3."""
    log = tmp_path_factory.mktemp("mlflow-server") / "log"
    server = servers.MlflowServer(postgres.fresh_uri(), s3.fresh_uri(), log)
    server.start()
    yield server
    server.stop()
