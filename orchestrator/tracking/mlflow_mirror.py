"""MLflow: a parent run per study, a child run per trial, to compare in its UI."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run
from mlflow.entities.view_type import ViewType

from orchestrator.tracking.protocol import StudyHeader, TrialEnd, TrialHeader

_STUDY = "mpn.study"
_DEFINITION = "mpn.definition"
_TRIAL_ID = "mpn.trial_id"
_MIRRORED = "mpn.mirrored"
_FAILURE = "mpn.failure"
_PARENT = "mlflow.parentRunId"
_STATES = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_LONGEST_TAG = 5000


class MlflowMirror:
    """See :class:`orchestrator.tracking.protocol.Tracker`.

    Runs are found again by their tags, so that a resumed study continues its own; points keep
    the timestamps at which they were measured, for which MLflow stores a repeated one once.
    """

    def __init__(self, uri: str, artifacts: Path | None) -> None:
        """Take the address; nothing is contacted yet.

        Args:
            uri: Tracking server or database.
            artifacts: Folder for artifacts of experiments made here; None leaves it to a server.
        """
        self._uri = uri
        self._artifacts = artifacts
        self._study: StudyHeader | None = None
        self._runs: dict[str, Run] = {}
        self._parent: Run | None = None
        self._experiment = ""

    def open(self, study: StudyHeader) -> None:
        """Find or make the experiment and the parent run, and find the child runs."""
        for name in ("alembic", "mlflow.store"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = MlflowClient(tracking_uri=self._uri)
        self._study = study
        self._experiment = self._ensure_experiment(study.name)
        self._close_stale(study.definition)
        self._runs, self._parent = {}, None
        for run in self._find(study.definition):
            trial_id = run.data.tags.get(_TRIAL_ID)
            if trial_id is None:
                self._parent = run
            else:
                self._runs[trial_id] = run
        if self._parent is None:
            note = study.question + (f"\n\nExpected: {study.expect}" if study.expect else "")
            tags = {
                **study.tags,
                _STUDY: study.name,
                _DEFINITION: study.definition,
                "mlflow.note.content": note,
            }
            self._parent = self._create(study.name, tags)

    def start_trial(self, trial: TrialHeader) -> None:
        """Find or make the child run; its parameters are logged once and never change."""
        assert self._study is not None and self._parent is not None
        run = self._runs.get(trial.trial_id)
        if run is None:
            tags = {
                **self._study.tags,
                _STUDY: self._study.name,
                _DEFINITION: self._study.definition,
                _TRIAL_ID: trial.trial_id,
                _PARENT: self._parent.info.run_id,
                "mpn.trial": str(trial.number),
                "mpn.label": trial.label,
                "mpn.baseline": str(trial.baseline).lower(),
            }
            run = self._runs[trial.trial_id] = self._create(f"{trial.number} {trial.label}", tags)
        if trial.params.keys() <= run.data.params.keys():
            return
        run_id = run.info.run_id
        self._client.log_inputs(
            run_id,
            datasets=[
                DatasetInput(
                    Dataset(name, digest[:36], "local", name),
                    [InputTag("mlflow.data.context", "editing")],
                )
                for name, digest in trial.datasets.items()
            ],
        )
        params = [Param(name, value) for name, value in trial.params.items()]
        self._client.log_batch(run_id, params=params)  # last: they tell that all of it is there
        self._runs[trial.trial_id] = self._client.get_run(run_id)

    def finish_trial(self, trial: TrialHeader, end: TrialEnd) -> None:
        """Log curves and final values, then close the run; a run that is whole is left alone."""
        self.start_trial(trial)
        run = self._runs[trial.trial_id]
        state = "complete" if end.complete else "failed"
        if run.data.tags.get(_MIRRORED) == state:
            return
        run_id = run.info.run_id
        # The UI opens a comparison with the metric that was logged first.
        metrics = [Metric(name, v, end.timestamp_ms, 0) for name, v in end.metrics.items()]
        metrics += [
            Metric(
                f"stream_{timed.point.stream}/{timed.point.metric}",
                timed.point.value,
                timed.timestamp_ms,
                timed.point.step,
            )
            for timed in end.points
        ]
        self._client.log_batch(run_id, metrics=metrics)
        if end.failure:
            self._client.set_tag(run_id, _FAILURE, end.failure[:_LONGEST_TAG])
        elif _FAILURE in run.data.tags:
            self._client.delete_tag(run_id, _FAILURE)
        self._client.set_terminated(
            run_id, "FINISHED" if end.complete else "FAILED", end_time=end.timestamp_ms
        )
        self._client.set_tag(run_id, _MIRRORED, state)  # last: it tells that all of it is there
        self._runs[trial.trial_id] = self._client.get_run(run_id)

    def finish_study(
        self,
        state: str,
        metrics: Mapping[str, Mapping[str, float]],
        artifacts: Mapping[str, str],
    ) -> None:
        """Log what needs the whole study, and close the parent run."""
        assert self._parent is not None
        time_ms = max((run.info.end_time or 0 for run in self._runs.values()), default=0)
        for trial_id, values in metrics.items():
            run = self._runs.get(trial_id)
            if run is not None:
                self._client.log_batch(
                    run.info.run_id,
                    metrics=[Metric(name, v, time_ms, 0) for name, v in values.items()],
                )
        for run in self._runs.values():
            if run.info.status == "RUNNING":  # until the study is continued
                self._client.set_terminated(run.info.run_id, "KILLED")
        parent_id = self._parent.info.run_id
        for name, text in artifacts.items():
            self._client.log_text(parent_id, text, name)
        self._client.set_terminated(parent_id, _STATES[state])

    def _close_stale(self, definition: str) -> None:
        """End what a killed driver left running under another definition of the study."""
        stale = self._client.search_runs(
            [self._experiment],
            f"attributes.status = 'RUNNING' and tags.`{_DEFINITION}` != '{definition}'",
        )
        for run in stale:
            self._client.set_terminated(run.info.run_id, "KILLED")

    def _ensure_experiment(self, name: str) -> str:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is not None:
            if experiment.lifecycle_stage == "deleted":
                self._client.restore_experiment(experiment.experiment_id)
            experiment_id: str = experiment.experiment_id
            return experiment_id
        location = None
        if self._artifacts is not None:
            location = (self._artifacts.resolve() / name).as_uri()
        created: str = self._client.create_experiment(name, artifact_location=location)
        return created

    def _find(self, definition: str) -> list[Run]:
        found: list[Run] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                f"tags.`{_DEFINITION}` = '{definition}'",
                ViewType.ACTIVE_ONLY,
                max_results=1000,
                page_token=token,
            )
            found += page
            token = page.token
            if not token:
                return found

    def _create(self, name: str, tags: Mapping[str, str]) -> Run:
        return self._client.create_run(
            self._experiment,
            start_time=int(time.time() * 1000),
            run_name=name,
            tags={key: value[:_LONGEST_TAG] for key, value in tags.items()},
        )
