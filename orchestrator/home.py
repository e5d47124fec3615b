"""The folder that holds everything a person's studies leave behind."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """Names of what lies in a home.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def optuna_uri(self) -> str:
        """Where Optuna keeps the trials."""
        return f"sqlite:///{self.path / 'optuna.db'}"

    @property
    def mlflow_uri(self) -> str:
        """Where MLflow keeps its runs."""
        return f"sqlite:///{self.path / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        """Where MLflow keeps its artifacts."""
        return self.path / "mlartifacts"

    @property
    def ledger(self) -> Path:
        """Results and checkpoints."""
        return self.path / "ledger"

    @property
    def cache(self) -> Path:
        """What can be made again: models, query caches."""
        return self.path / "cache"

    @property
    def logs(self) -> Path:
        """One log file a study."""
        return self.path / "logs"

    def make(self) -> "Home":
        """Create the folder; what it holds comes as it is needed."""
        self.path.mkdir(parents=True, exist_ok=True)
        return self
