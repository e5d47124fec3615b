"""What the driver knows of a study while it runs, and how it is remembered in the ledger."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.identity import block_id, canonical_json, content_hash
from orchestrator.ledger import Ledger
from orchestrator.objective import Objective
from orchestrator.plan import TrialPlan
from orchestrator.results import Estimate, Streams, estimates, paired_differences
from orchestrator.scheduler import BlockPlan, TrialState, TrialWork
from orchestrator.spec import StudySpec, definition_of
from orchestrator.tracking.protocol import DIFFERENCE, StudyHeader, TrialEnd, TrialHeader


@dataclass
class Entry:
    """A trial of the study.

    Attributes:
        plan: What it tries.
        blocks: Its blocks.
        affinity: What replicas keep warm for it.
        reused: Ids of those that were complete before this run.
        state: Where it stands.
        failure: Why it failed, or None.
    """

    plan: TrialPlan
    blocks: tuple[BlockPlan, ...]
    affinity: str
    reused: frozenset[str]
    state: TrialState = TrialState.WAITING
    failure: str | None = None

    @property
    def work(self) -> TrialWork:
        """What the scheduler needs."""
        return TrialWork(self.plan.number, self.plan.params, self.blocks, self.affinity)

    def header(self, objective: Objective, cache: Path) -> TrialHeader:
        """Describe the trial for a tracker."""
        params = {**_flat(self.plan.params), **self.plan.changes}
        return TrialHeader(
            self.plan.trial_id,
            self.plan.number,
            self.plan.label,
            self.plan.baseline,
            {path: _shown(value) for path, value in sorted(params.items())},
            objective.dataset(self.plan.params, cache),
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
            "state": str(self.state),
            "failure": self.failure,
            "blocks": [
                {"block_id": block.block_id, "streams": list(block.streams), "units": block.units}
                for block in self.blocks
            ],
        }


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
    _texts: dict[int, tuple[TrialState, str]] = field(default_factory=dict)
    _last_run: Mapping[str, Any] | None = None
    _baseline: Streams | None = None

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

    def admit(self, plan: TrialPlan) -> Entry:
        """Add a trial, and look up which of its blocks are complete."""
        blocks = tuple(plan_blocks(self.objective, plan, self.cache))
        ids = (block.block_id for block in blocks)
        reused = frozenset(i for i in ids if self.ledger.is_complete(i))
        entry = Entry(plan, blocks, self.objective.affinity(plan.params), reused)
        self.entries[plan.number] = entry
        for block in blocks:  # one that several trials ask for runs once
            if block.block_id not in entry.reused and block.block_id not in self._missing:
                self._missing.add(block.block_id)
                self.units_missing += block.units
        return entry

    def trial_end(self, entry: Entry) -> TrialEnd:
        """Collect from the ledger what the tracker shows of a trial that has ended.

        Differences to the baseline are among it once that is complete; those of earlier trials
        come with the end of the study.
        """
        ids = [block.block_id for block in entry.blocks]
        streams: dict[int, Mapping[str, tuple[float, int]]] = {}
        for result in filter(None, map(self.ledger.result, ids)):
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
        finished_s = [self.ledger.attempt(i).get("finished_s", 0.0) for i in ids]
        return TrialEnd(
            is_complete,
            metrics,
            [point for i in ids for point in self.ledger.points(i)],
            int(max(finished_s, default=0.0) * 1000),
            entry.failure,
        )

    def shown_differences(self, differences: Mapping[str, Estimate]) -> dict[str, float]:
        """Return the differences to the baseline that a tracker shows, under its names."""
        return {
            f"{DIFFERENCE}{name}": estimate.mean
            for name, estimate in differences.items()
            if name in self.objective.metrics
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
