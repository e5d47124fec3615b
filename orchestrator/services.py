"""Where studies are kept outside of a home's folder, and whether that can be used."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import fsspec
import sqlalchemy
from sqlalchemy.engine import URL

from orchestrator.errors import InputError, Problem
from orchestrator.redaction import redact
from orchestrator.stores import Store

LEDGER_VARIABLE, OPTUNA_VARIABLE, MLFLOW_VARIABLE = "MPN_LEDGER", "MPN_OPTUNA", "MPN_MLFLOW"
_NOTHING_DONE = "Nothing was done. See docs/services.md."
_EXTRA = "pip install 'mpn-studies[cluster]'"
_SERVERS = ("http", "https", "databricks")


@dataclass(frozen=True)
class Services:
    """What a home keeps elsewhere; None is a home's own folder.

    Attributes:
        ledger: Any URI that fsspec knows, ``s3://bucket/folder``, say.
        optuna: A database URL, as SQLAlchemy writes them.
        mlflow: A tracking server, or a database URL.
    """

    ledger: str | None = None
    optuna: str | None = None
    mlflow: str | None = None

    @staticmethod
    def of(asked: Mapping[str, str], environment: Mapping[str, str]) -> "Services":
        """Take what was asked for, or else what the environment says; an empty text is nothing.

        Args:
            asked: URIs by the names above.
            environment: Where the variables ``MPN_LEDGER``, ``MPN_OPTUNA`` and ``MPN_MLFLOW`` are.

        Raises:
            InputError: If one of them is no URI of that kind, or its package is not installed.
        """
        found, problems = {}, []
        for name, (variable, trouble_with) in _KINDS.items():
            uri = asked.get(name) or environment.get(variable)
            if not uri:
                continue
            found[name] = _named_in_full(uri)
            if trouble := trouble_with(found[name]):
                place = f"--{name}" if asked.get(name) else variable
                text = f"{redact(uri)!r}: {trouble[0]}"
                problems.append(Problem(place, None, text, trouble[1]))
        if problems:
            raise InputError("the command", problems, _NOTHING_DONE)
        return Services(**found)


def is_server(mlflow: str) -> bool:
    """Whether runs are kept by a tracking server, which has a place of its own for artifacts."""
    return mlflow.partition(":")[0] in _SERVERS


def check_reachable(services: Services) -> None:
    """See that the ledger and Optuna's database answer; MLflow may be away for any time.

    Raises:
        InputError: If not; says what they answered, without credentials.
    """
    problems: list[Problem] = []
    if services.ledger is not None:
        with _noting("the ledger", services.ledger, problems):
            Store(services.ledger).check()
    if services.optuna is not None:
        with _noting("Optuna's database", services.optuna, problems):
            engine = sqlalchemy.create_engine(services.optuna, poolclass=sqlalchemy.NullPool)
            engine.connect().close()
    if problems:
        raise InputError("the services", problems, _NOTHING_DONE)


@contextlib.contextmanager
def _noting(what: str, uri: str, problems: list[Problem]) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # every client has errors of its own
        said = next(iter(str(error).strip().splitlines()), "")
        found = f"{redact(uri)!r} cannot be used: {redact(f'{type(error).__name__}: {said}')}"
        wanted = "start it, or mend its address or the credentials that it is given"
        problems.append(Problem(what, None, found, wanted))


def _named_in_full(uri: str) -> str:
    """Name the driver of a PostgreSQL URL: which is the default changes between releases."""
    for short in ("postgres://", "postgresql://"):
        if uri.startswith(short):
            return "postgresql+psycopg://" + uri.removeprefix(short)
    return uri


def _trouble_with_store(uri: str) -> tuple[str, str] | None:
    protocol = fsspec.utils.get_protocol(uri)
    try:
        fsspec.get_filesystem_class(protocol)
    except ValueError:
        return f"{protocol} is not known to fsspec", "a folder, or s3://bucket/folder, say"
    except ImportError as error:
        wanted = _EXTRA if protocol in ("s3", "s3a") else str(error)
        return f"the package for {protocol} is not installed", wanted
    return None


def _trouble_with_database(uri: str) -> tuple[str, str] | None:
    wanted = "postgresql+psycopg://user:password@host/database, or sqlite:///file, say"
    try:
        url: URL = sqlalchemy.make_url(uri)
        driver = url.get_dialect()
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return "not a database URL", wanted
    except sqlalchemy.exc.NoSuchModuleError:
        return "no such kind of database", wanted
    try:
        driver.import_dbapi()
    except ImportError as error:
        package = error.name or url.get_driver_name()
        install = _EXTRA if package.startswith("psycopg") else f"pip install {package}"
        return f"the package {package} is not installed", install
    return None


def _trouble_with_tracking(uri: str) -> tuple[str, str] | None:
    if is_server(uri):
        return None
    trouble = _trouble_with_database(uri)
    if trouble is not None and "installed" not in trouble[0]:
        return "neither a tracking server nor a database", "http://host:port, or a database URL"
    return trouble


_KINDS: Mapping[str, tuple[str, Callable[[str], tuple[str, str] | None]]] = {
    "ledger": (LEDGER_VARIABLE, _trouble_with_store),
    "optuna": (OPTUNA_VARIABLE, _trouble_with_database),
    "mlflow": (MLFLOW_VARIABLE, _trouble_with_tracking),
}
