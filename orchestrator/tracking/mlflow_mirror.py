"""MLflow: a parent run per study, a child run per trial, to compare in its UI."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.entities.view_type import ViewType

from orchestrator.redaction import redact
from orchestrator.tracking.experiments import ensure_experiment, open_client, shown_tag
from orchestrator.tracking.protocol import DIFFERENCE, StudyHeader, TrialEnd, TrialHeader

_STUDY = "mpn.study"
_DEFINITION = "mpn.definition"
_TRIAL_ID = "mpn.trial_id"
_MIRRORED = "mpn.mirrored"
_FAILURE = "mpn.failure"
_PARENT = "mlflow.parentRunId"
_STATE = "mpn.state"
_STATUSES = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
_STATES = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


@dataclass
class _Child:
    """What is known of a trial's run, so that it need not be read again.

    Attributes:
        run_id: Its id.
        status: As MLflow shows it.
        end_ms: When it ended; 0 until then.
        n_params: How many parameters are logged.
        mirrored: ``complete``, ``pruned`` or ``failed`` once that is logged whole; else None.
        has_failure: Whether it says why it failed.
        differences: Those to the baseline that this process has logged.
    """

    run_id: str
    status: str = "RUNNING"
    end_ms: int = 0
    n_params: int = 0
    mirrored: str | None = None
    has_failure: bool = False
    differences: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def of(run: Run) -> "_Child":
        """Take over a run that is there."""
        info, tags = run.info, run.data.tags
        return _Child(
            info.run_id,
            info.status,
            info.end_time or 0,
            len(run.data.params),
            tags.get(_MIRRORED),
            _FAILURE in tags,
        )


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
        self._children: dict[str, _Child] = {}
        self._parent_id = ""
        self._experiment = ""

    def open(self, study: StudyHeader) -> None:
        """Find or make the experiment and the parent run, and find the child runs."""
        self._client = open_client(self._uri)
        self._study = study
        self._experiment = ensure_experiment(self._client, study.name, self._artifacts)
        self._close_stale(study.definition)
        self._children, self._parent_id = {}, ""
        for run in self._find(study.definition):
            trial_id = run.data.tags.get(_TRIAL_ID)
            if trial_id is None:
                self._parent_id = run.info.run_id
            else:
                self._children[trial_id] = _Child.of(run)
        if not self._parent_id:
            note = study.question + (f"\n\nExpected: {study.expect}" if study.expect else "")
            tags = {
                **study.tags,
                _STUDY: study.name,
                _DEFINITION: study.definition,
                "mlflow.note.content": note,
            }
            began_ms = study.span_ms[0] if study.span_ms else None
            self._parent_id = self._create(study.name, tags, began_ms)

    def start_trial(self, trial: TrialHeader) -> None:
        """Find or make the child run; its parameters are logged once and never change."""
        self._child(trial)

    def finish_trial(self, trial: TrialHeader, end: TrialEnd) -> None:
        """Log curves and final values, then close the run; a run that is whole is left alone."""
        child = self._child(trial)
        state = end.state
        if child.mirrored == state:
            return
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
        self._client.log_batch(child.run_id, metrics=metrics, tags=[RunTag(_STATE, state)])
        if end.failure:
            self._client.set_tag(child.run_id, _FAILURE, shown_tag(end.failure))
        elif child.has_failure:
            self._client.delete_tag(child.run_id, _FAILURE)
        status = _STATUSES[state]
        self._client.set_terminated(child.run_id, status, end_time=end.timestamp_ms)
        self._client.set_tag(child.run_id, _MIRRORED, state)  # last: all of it is there
        child.status, child.end_ms, child.mirrored = status, end.timestamp_ms, state
        child.has_failure = bool(end.failure)
        child.differences = {k: v for k, v in end.metrics.items() if k.startswith(DIFFERENCE)}

    def finish_study(
        self,
        state: str,
        metrics: Mapping[str, Mapping[str, float]],
        artifacts: Mapping[str, str],
    ) -> None:
        """Log what needs the whole study, and close the parent run."""
        assert self._study is not None
        ended_ms = self._study.span_ms[1] if self._study.span_ms else None
        for trial_id, values in metrics.items():
            child = self._children.get(trial_id)
            if child is not None and not values.items() <= child.differences.items():
                found = [Metric(name, v, child.end_ms, 0) for name, v in values.items()]
                self._client.log_batch(child.run_id, metrics=found)
        for child in self._children.values():
            if child.status == "RUNNING":  # until the study is continued
                self._client.set_terminated(child.run_id, "KILLED", end_time=ended_ms)
                child.status = "KILLED"
        for name, text in artifacts.items():
            self._client.log_text(self._parent_id, text, name)
        self._client.set_terminated(self._parent_id, _STATES[state], end_time=ended_ms)

    def _child(self, trial: TrialHeader) -> _Child:
        """Return the run of a trial; make it, or what is missing of it."""
        assert self._study is not None
        child = self._children.get(trial.trial_id)
        if child is None:
            tags = {
                **self._study.tags,
                _STUDY: self._study.name,
                _DEFINITION: self._study.definition,
                _TRIAL_ID: trial.trial_id,
                _PARENT: self._parent_id,
                "mpn.trial": str(trial.number),
                "mpn.label": trial.label,
                "mpn.baseline": str(trial.baseline).lower(),
            }
            name = f"{trial.number} {trial.label}"
            run_id = self._create(name, tags, trial.started_ms)
            child = self._children[trial.trial_id] = _Child(run_id)
        if child.n_params >= len(trial.params):
            return child
        self._client.log_inputs(
            child.run_id,
            datasets=[
                DatasetInput(
                    Dataset(name, digest[:36], "local", name),
                    [InputTag("mlflow.data.context", "editing")],
                )
                for name, digest in trial.datasets.items()
            ],
        )
        params = [Param(name, redact(value)) for name, value in trial.params.items()]
        # last: they tell that all of it is there
        self._client.log_batch(child.run_id, params=params)
        child.n_params = len(params)
        return child

    def _close_stale(self, definition: str) -> None:
        """End what a killed driver left running under another definition of the study."""
        stale = self._client.search_runs(
            [self._experiment],
            f"attributes.status = 'RUNNING' and tags.`{_DEFINITION}` != '{definition}'",
        )
        for run in stale:
            self._client.set_terminated(run.info.run_id, "KILLED")

    def _find(self, definition: str) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                f"tags.`{_DEFINITION}` = '{definition}'",
                ViewType.ACTIVE_ONLY,
                max_results=1000,
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return

    def _create(self, name: str, tags: Mapping[str, str], began_ms: int | None) -> str:
        run = self._client.create_run(
            self._experiment,
            start_time=int(time.time() * 1000) if began_ms is None else began_ms,
            run_name=name,
            tags={key: shown_tag(value) for key, value in tags.items()},
        )
        return str(run.info.run_id)
