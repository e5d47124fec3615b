"""The folder that holds everything a person's studies leave behind."""

from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import InputError, Problem
from orchestrator.redaction import conceal
from orchestrator.services import Services, is_server


@dataclass(frozen=True)
class Home:
    """Names of what lies in a home, or in the services that it was told to use.

    Attributes:
        path: The folder; locks, logs and caches are in it wherever the rest is.
        services: What is kept elsewhere.
    """

    path: Path
    services: Services = field(default_factory=Services)

    @property
    def optuna_uri(self) -> str:
        """Where Optuna keeps the trials."""
        return conceal(self.services.optuna or f"sqlite:///{self.path / 'optuna.db'}")

    @property
    def mlflow_uri(self) -> str:
        """Where MLflow keeps its runs."""
        return conceal(self.services.mlflow or f"sqlite:///{self.path / 'mlflow.db'}")

    @property
    def artifacts(self) -> Path | None:
        """Where MLflow keeps its artifacts; None if a tracking server decides that."""
        return None if is_server(self.mlflow_uri) else self.path / "mlartifacts"

    @property
    def ledger(self) -> str:
        """URI of results and checkpoints; a folder's is absolute, for processes anywhere."""
        uri = self.services.ledger or str(self.path / "ledger")
        return uri if "://" in uri else str(Path(uri).resolve())

    @property
    def cache(self) -> Path:
        """What can be made again: models, query caches."""
        return self.path / "cache"

    @property
    def logs(self) -> Path:
        """One log file a study."""
        return self.path / "logs"

    def make(self) -> "Home":
        """Create the folder; what it holds comes as it is needed.

        Raises:
            InputError: If it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = Problem("--home", None, f"{str(self.path)!r}: {error}", "name another folder")
            raise InputError("the command", [problem], "Nothing was done.") from error
        return self
