"""What the driver knows of a study while it runs, and how it is remembered in the ledger."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.curves import PrunedAt
from orchestrator.identity import block_id, canonical_json, content_hash
from orchestrator.ledger import Ledger
from orchestrator.objective import Objective
from orchestrator.plan import TrialPlan
from orchestrator.results import (
    Estimate,
    Streams,
    StudyResults,
    estimates,
    paired_differences,
)
from orchestrator.spec import StudySpec, definition_of
from orchestrator.tracking.protocol import DIFFERENCE, StudyHeader, TrialEnd, TrialHeader
from orchestrator.trials import BlockPlan, TrialState, TrialWork


@dataclass
class Entry:
    """A trial of the study.

    Attributes:
        plan: What it tries.
        blocks: Its blocks.
        affinity: What replicas keep warm for it.
        datasets: Name and digest of the data behind it.
        reused: Ids of those that were complete before this run.
        state: Where it stands.
        failure: Why it failed, or None.
        pruned_at: Where it was stopped early, or None.
    """

    plan: TrialPlan
    blocks: tuple[BlockPlan, ...]
    affinity: str
    datasets: Mapping[str, str]
    reused: frozenset[str]
    state: TrialState = TrialState.WAITING
    failure: str | None = None
    pruned_at: PrunedAt | None = None

    @property
    def work(self) -> TrialWork:
        """What the scheduler needs."""
        return TrialWork(self.plan.number, self.plan.params, self.blocks, self.affinity)

    @property
    def header(self) -> TrialHeader:
        """Describe the trial for a tracker."""
        params = {**_flat(self.plan.params), **self.plan.changes}
        return TrialHeader(
            self.plan.trial_id,
            self.plan.number,
            self.plan.label,
            self.plan.baseline,
            {path: _shown(value) for path, value in sorted(params.items())},
            self.datasets,
        )

    def to_json(self) -> dict[str, object]:
        """Return what the ledger remembers."""
        return {
            "number": self.plan.number,
            "trial_id": self.plan.trial_id,
            "label": self.plan.label,
            "baseline": self.plan.baseline,
            "params": self.plan.params,
            "changes": self.plan.changes,
            "datasets": dict(self.datasets),
            "state": str(self.state),
            "failure": self.failure,
            "pruned_at": None if self.pruned_at is None else asdict(self.pruned_at),
            "blocks": [
                {"block_id": block.block_id, "streams": list(block.streams), "units": block.units}
                for block in self.blocks
            ],
        }

    @staticmethod
    def remembered(content: Mapping[str, Any], complete: Callable[[str], bool]) -> "Entry":
        """Return what :meth:`to_json` wrote.

        Args:
            content: That.
            complete: Says of a block's id whether the block is complete. A trial whose blocks all
                are is complete, whatever a killed driver last wrote, and no other is; but one
                that was pruned stays so, however far it ran.
        """
        names = ("number", "trial_id", "params", "changes", "label", "baseline")
        blocks = tuple(
            BlockPlan(block["block_id"], tuple(block["streams"]), block["units"])
            for block in content["blocks"]
        )
        state, pruned_at = TrialState(content["state"]), content.get("pruned_at")
        if pruned_at is not None:
            pruned_at = PrunedAt(**pruned_at)
        elif blocks and all(complete(block.block_id) for block in blocks):
            state = TrialState.COMPLETE
        elif state is TrialState.COMPLETE:
            state = TrialState.WAITING
        failure = content["failure"] if state is TrialState.FAILED else None
        plan = TrialPlan(**{name: content[name] for name in names})
        datasets = content.get("datasets", {})
        return Entry(plan, blocks, "", datasets, frozenset(), state, failure, pruned_at)


@dataclass
class StudyRecord:
    """A study under way: its trials in order, and how to write all of it down."""

    spec: StudySpec
    objective: Objective
    ledger: Ledger
    cache: Path
    tags: Mapping[str, str]
    entries: dict[int, Entry] = field(default_factory=dict)
    units_missing: int = 0
    """Units of work that this run has, or had, to do."""
    _missing: set[str] = field(default_factory=set)
    _spared: dict[str, int] = field(default_factory=dict)
    _texts: dict[int, tuple[TrialState, str]] = field(default_factory=dict)
    _last_run: Mapping[str, Any] | None = None
    _baseline: Streams | None = None

    @staticmethod
    def remembered(
        ledger: Ledger, study: str, objectives: Mapping[str, Objective], cache: Path
    ) -> "StudyRecord":
        """Return what a ledger remembers of a study, without asking what made it.

        Args:
            ledger: It has such a study.
            study: Its name.
            objectives: All that studies can name.
            cache: Of the home; nothing is looked up in it.
        """
        memory = ledger.study(study)
        assert memory is not None
        spec = StudySpec.model_validate(memory["spec"])
        record = StudyRecord(spec, objectives[spec.objective], ledger, cache, memory["provenance"])
        trials = memory["trials"]
        there = ledger.results(block["block_id"] for trial in trials for block in trial["blocks"])
        for trial in trials:
            entry = Entry.remembered(trial, there.__contains__)
            record.entries[entry.plan.number] = entry
        return record

    @property
    def definition(self) -> str:
        """Hash of what decides which trials there are."""
        return content_hash(definition_of(self.spec))

    @property
    def header(self) -> StudyHeader:
        """Describe the study for a tracker."""
        spec = self.spec
        return StudyHeader(spec.study, spec.question, spec.expect, self.definition, self.tags)

    @property
    def blocks_reused(self) -> int:
        """Blocks that were complete before this run."""
        return len(frozenset().union(*(entry.reused for entry in self.entries.values())))

    @property
    def blocks_missing(self) -> int:
        """Blocks that this run has, or had, to execute."""
        return len(self._missing)

    @property
    def units_spared(self) -> int:
        """Units of work that pruned trials left undone."""
        return sum(self._spared.values())

    def admit(self, plan: TrialPlan) -> Entry:
        """Add a trial, and look up which of its blocks are complete."""
        blocks = tuple(plan_blocks(self.objective, plan, self.cache))
        reused = frozenset(self.ledger.complete_among(block.block_id for block in blocks))
        affinity = self.objective.affinity(plan.params)
        datasets = self.objective.dataset(plan.params, self.cache)
        entry = Entry(plan, blocks, affinity, datasets, reused)
        self.entries[plan.number] = entry
        for block in blocks:  # one that several trials ask for runs once
            self._spared.pop(block.block_id, None)
            if block.block_id not in entry.reused and block.block_id not in self._missing:
                self._missing.add(block.block_id)
                self.units_missing += block.units
        return entry

    def prune(self, entry: Entry, pruned_at: PrunedAt) -> None:
        """Note that a trial has ended early; nobody waits for what it left undone."""
        entry.pruned_at = pruned_at
        wanted = {
            block.block_id
            for other in self.entries.values()
            if other.pruned_at is None
            for block in other.blocks
        }
        for block in entry.blocks:
            if block.block_id not in wanted and self.ledger.result(block.block_id) is None:
                self._spared[block.block_id] = block.units - self.ledger.position(block.block_id)
                if block.block_id in self._missing:
                    self._missing.remove(block.block_id)
                    self.units_missing -= block.units

    def trial_end(self, entry: Entry) -> TrialEnd:
        """Collect from the ledger what the tracker shows of a trial that has ended.

        Differences to the baseline are among it once that is complete; those of earlier trials
        come with the end of the study. Of a trial that was pruned there is the curve up to there,
        and nothing to take for a result, whatever more its streams had done by then.
        """
        ids = [block.block_id for block in entry.blocks]
        if entry.pruned_at is not None:
            return self._pruned_end(ids, entry.pruned_at.step)
        streams: dict[int, Mapping[str, tuple[float, int]]] = {}
        for result in self.ledger.results(ids).values():
            streams |= result.summaries
        is_complete = entry.state is TrialState.COMPLETE
        level = self.spec.measure.interval.level
        primary = self.spec.measure.primary
        metrics: dict[str, float] = {}
        for name, estimate in estimates(streams, level).items():
            metrics[name] = estimate.mean
            ends = {f"{name}.low": estimate.low, f"{name}.high": estimate.high}
            if name in self.objective.metrics:
                metrics |= {end: value for end, value in ends.items() if value is not None}
        metrics = {name: metrics[name] for name in sorted(metrics, key=lambda n: n != primary)}
        if entry.plan.baseline and is_complete:
            self._baseline = streams
        elif self._baseline is not None:
            found = paired_differences(streams, self._baseline, level)
            metrics |= self.shown_differences(found)
        finished_s = [one.get("finished_s", 0.0) for one in self.ledger.attempts(ids)]
        return TrialEnd(
            is_complete,
            metrics,
            self.ledger.points_of(ids),
            int(max(finished_s, default=0.0) * 1000),
            entry.failure,
        )

    def _pruned_end(self, ids: Sequence[str], step: int) -> TrialEnd:
        points = [timed for timed in self.ledger.points_of(ids) if timed.point.step <= step]
        last_ms = max((timed.timestamp_ms for timed in points), default=0)
        return TrialEnd(False, {}, points, last_ms, None, pruned=True)

    def shown_differences(self, differences: Mapping[str, Estimate]) -> dict[str, float]:
        """Return the differences to the baseline that a tracker shows, under its names."""
        return {
            f"{DIFFERENCE}{name}": estimate.mean
            for name, estimate in differences.items()
            if name in self.objective.metrics
        }

    def differences(self, results: StudyResults) -> dict[str, dict[str, float]]:
        """Return what a tracker shows of all paired differences, by the trial's id."""
        ids = {number: entry.plan.trial_id for number, entry in self.entries.items()}
        return {
            ids[row.trial.number]: self.shown_differences(row.difference) for row in results.rows()
        }

    def save(
        self,
        state: str,
        last_run: Mapping[str, Any] | None,
        progress: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the study to the ledger.

        Args:
            state: ``running``, ``done``, ``failed`` or ``interrupted``.
            last_run: Figures of the last run that ended; None keeps those that are there.
            progress: What this run is at, for those who watch; None once it has ended.
        """
        name = self.spec.study
        if last_run is not None:
            self._last_run = last_run
        elif self._last_run is None:
            self._last_run = (self.ledger.study(name) or {}).get("last_run", {})
        self.ledger.remember_study(
            name,
            {
                "spec": self.spec.model_dump(mode="json"),
                "definition": self.definition,
                "unit": self.objective.unit,
                "state": state,
                "provenance": dict(self.tags),
                "last_run": self._last_run,
                "progress": progress,
            },
            trials=[self._text(self.entries[number]) for number in sorted(self.entries)],
        )

    def _text(self, entry: Entry) -> str:
        """Write a trial as JSON; most have not changed since they were written last."""
        number = entry.plan.number
        state, text = self._texts.get(number, (None, ""))
        if state is not entry.state:
            text = json.dumps(entry.to_json(), allow_nan=False, ensure_ascii=False)
            self._texts[number] = (entry.state, text)
        return text


def plan_blocks(objective: Objective, plan: TrialPlan, cache: Path) -> Iterator[BlockPlan]:
    """Name the blocks of a trial by everything that changes their records.

    Args:
        objective: What the trial asks.
        plan: The trial.
        cache: Where the objective finds the models that its identity is about.

    Raises:
        RuntimeError: If the objective has to prepare first.
    """
    identity = objective.identity(plan.params, cache)
    if identity is None:
        raise RuntimeError(f"trial {plan.number} has no identity before it is prepared")
    for streams in objective.blocks(plan.params):
        name = block_id(objective.name, identity, streams)
        yield BlockPlan(name, streams, objective.units(plan.params, streams))


def _flat(params: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _shown(value: object) -> str:
    return value if isinstance(value, str) else canonical_json(value)
