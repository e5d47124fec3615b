"""One MLflow run that is written as its work goes on, and continued where it was cut off."""

import json
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

from orchestrator.redaction import one_line, redact
from orchestrator.tracking.experiments import ensure_experiment, open_client, shown_tag

_LOG = logging.getLogger(__name__)
_KEY = "mpn.key"
_TIMES_AS_LONG = 10
_STATES = {"running": "RUNNING", "done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


@dataclass(frozen=True)
class RunHeader:
    """What a run is.

    Attributes:
        experiment: Name of the experiment that it belongs to.
        name: Its own.
        params: What it was told.
        tags: Provenance and whatever else describes it.
        datasets: Name and digest of the data behind it.
    """

    experiment: str
    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    datasets: Mapping[str, str]


@dataclass(frozen=True)
class _Entry:
    """A measured value, as a line of the journal."""

    metric: str
    value: float
    step: int
    timestamp_ms: int


class SingleRun:
    """A run whose truth is a journal in a folder, of which MLflow gets a copy.

    A metric has one value at a step: the first that was measured, with its timestamp. Work that is
    repeated after a kill adds nothing, and a copy that is sent again is stored once. An outage of
    MLflow never reaches the work: what is missing is sent when it is back.

    Attributes:
        trouble: The last error, in one line, while MLflow lacks something; else None.
    """

    def __init__(
        self,
        uri: str,
        artifacts: Path | None,
        folder: Path,
        header: RunHeader,
        clock: Callable[[], float],
        *,
        wait_s: float = 10.0,
    ) -> None:
        """Begin a run, or take up the one of a folder; nothing is contacted yet.

        Args:
            uri: Tracking server or database.
            artifacts: Folder for artifacts of experiments made here; None leaves it to a server.
            folder: Where the journal is; one folder a run.
            header: What the run is.
            clock: Returns seconds since 1970.
            wait_s: For how long MLflow is left alone after an error; longer if the error took
                its time, so that an outage costs the work a tenth of its time at most.
        """
        self._uri, self._artifacts, self._header = uri, artifacts, header
        self._clock, self._wait_s, self._not_before = clock, wait_s, float("-inf")
        folder.mkdir(parents=True, exist_ok=True)
        self._key = _key_of(folder / "run.json")
        self._journal = folder / "points.jsonl"
        self._entries = _read(self._journal)
        self._known = {(entry.metric, entry.step) for entry in self._entries}
        self._sent = 0
        self._texts: dict[str, str] = {}
        self._state = "running"
        self._client: MlflowClient | None = None
        self._run_id = ""
        self.trouble: str | None = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note values at a step; never raises for MLflow's sake."""
        now_ms = int(self._clock() * 1000)
        new = [
            _Entry(metric, value, step, now_ms)
            for metric, value in values.items()
            if (metric, step) not in self._known
        ]
        with self._journal.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(entry)) + "\n" for entry in new)
        self._entries += new
        self._known |= {(entry.metric, entry.step) for entry in new}
        self._send()

    def finish(self, state: str, texts: Mapping[str, str] | None = None) -> None:
        """Close the run; never raises for MLflow's sake.

        Args:
            state: ``done``, ``failed``, or ``interrupted``: it will be taken up again.
            texts: Artifacts by file name.
        """
        self._state, self._not_before = state, float("-inf")
        self._texts = dict(texts or {})
        self._send()

    def _send(self) -> None:
        start = self._clock()
        if start < self._not_before:
            return
        try:
            self._send_or_raise()
        except Exception as error:  # every store has errors of its own
            self.trouble = one_line(error, longest=200)
            end = self._clock()
            self._not_before = end + max(self._wait_s, _TIMES_AS_LONG * (end - start))
            _LOG.warning("MLflow cannot be written, %s", self.trouble)
        else:
            self.trouble = None

    def _send_or_raise(self) -> None:
        if self._client is None:
            client = open_client(self._uri)
            self._run_id = self._opened(client)
            self._client = client
        waiting = self._entries[self._sent :]
        if waiting:
            metrics = [Metric(e.metric, e.value, e.timestamp_ms, e.step) for e in waiting]
            self._client.log_batch(self._run_id, metrics=metrics)
            self._sent += len(waiting)
        for name, text in self._texts.items():
            self._client.log_text(self._run_id, text, name)
        if self._state != "running":
            self._client.set_terminated(self._run_id, _STATES[self._state])

    def _opened(self, client: MlflowClient) -> str:
        """Find the run by its key, or make it; what it was told is logged once."""
        header = self._header
        experiment = ensure_experiment(client, header.experiment, self._artifacts)
        found = client.search_runs([experiment], f"tags.`{_KEY}` = '{self._key}'")
        if found:
            run_id = str(found[0].info.run_id)
            client.update_run(run_id, status="RUNNING")
        else:
            tags = {**header.tags, _KEY: self._key}
            run_id = client.create_run(
                experiment,
                start_time=int(self._clock() * 1000),
                run_name=header.name,
                tags={name: shown_tag(value) for name, value in tags.items()},
            ).info.run_id
        if not (found and found[0].data.params):
            self._describe(client, run_id)
        return run_id

    def _describe(self, client: MlflowClient, run_id: str) -> None:
        inputs = [
            DatasetInput(
                Dataset(name, digest[:36], "local", name),
                [InputTag("mlflow.data.context", name)],
            )
            for name, digest in self._header.datasets.items()
        ]
        client.log_inputs(run_id, datasets=inputs)
        params = [Param(name, redact(value)) for name, value in self._header.params.items()]
        client.log_batch(run_id, params=params)  # last: they tell that all of it is there


def _key_of(path: Path) -> str:
    """Return a folder's key for its run, made when it is first asked for."""
    try:
        return str(json.loads(path.read_text())["key"])
    except (OSError, ValueError):
        key = uuid.uuid4().hex
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"key": key}))
        part.rename(path)
        return key


def _read(journal: Path) -> list[_Entry]:
    """Read a journal; a line that a kill cut off is taken out."""
    if not journal.exists():
        return []
    text = journal.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        part = journal.with_suffix(".part")
        part.write_text(whole, encoding="utf-8")
        part.rename(journal)
    return [_Entry(**json.loads(line)) for line in whole.splitlines()]
