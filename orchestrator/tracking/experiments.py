"""MLflow's clients and experiments, opened alike by all that log there."""

import logging
import os
from pathlib import Path

from mlflow import MlflowClient

from orchestrator.redaction import redact

_LONGEST_TAG = 5000
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""Whoever writes to MLflow tries again by itself, with less of a wait than its client's minutes."""


def open_client(uri: str) -> MlflowClient:
    """Return a client of a tracking server or database, which is not contacted yet."""
    for name in ("alembic", "mlflow.store"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for variable, value in _IMPATIENT.items():
        os.environ.setdefault(variable, value)
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # which may hold a password
    return MlflowClient(tracking_uri=uri)


def shown_tag(value: str) -> str:
    """Return a tag's value as MLflow may keep it: without credentials, and not too long."""
    return redact(value)[:_LONGEST_TAG]


def ensure_experiment(client: MlflowClient, name: str, artifacts: Path | None) -> str:
    """Find an experiment, bring it back if it was deleted, or make it.

    Args:
        client: Where.
        name: Its name.
        artifacts: Folder for artifacts of experiments made here; None leaves it to a server.

    Returns:
        Its id.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        if experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment.experiment_id)
        experiment_id: str = experiment.experiment_id
        return experiment_id
    location = None if artifacts is None else (artifacts.resolve() / name).as_uri()
    created: str = client.create_experiment(name, artifact_location=location)
    return created
