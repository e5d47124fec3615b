"""What the driver knows of a study while it runs, and how it is remembered in the ledger."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.identity import canonical_json, content_hash
from orchestrator.ledger import Ledger
from orchestrator.objective import Objective
from orchestrator.plan import TrialPlan
from orchestrator.scheduler import BlockPlan, TrialState, TrialWork
from orchestrator.spec import StudySpec, definition_of
from orchestrator.tracking.protocol import StudyHeader, TrialHeader


@dataclass
class Entry:
    """A trial of the study.

    Attributes:
        plan: What it tries.
        blocks: Its blocks.
        reused: Ids of those that were complete before this run.
        state: Where it stands.
        failure: Why it failed, or None.
    """

    plan: TrialPlan
    blocks: tuple[BlockPlan, ...]
    reused: frozenset[str]
    state: TrialState = TrialState.WAITING
    failure: str | None = None

    @property
    def work(self) -> TrialWork:
        """What the scheduler needs."""
        return TrialWork(self.plan.number, self.plan.params, self.blocks)

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
        return len(self._units_missing)

    @property
    def units_missing(self) -> int:
        """Units of work that this run has, or had, to do."""
        return sum(self._units_missing.values())

    @property
    def _units_missing(self) -> Mapping[str, int]:
        """Units by block id: a block that several trials ask for runs once."""
        return {
            block.block_id: block.units
            for entry in self.entries.values()
            for block in entry.blocks
            if block.block_id not in entry.reused
        }

    def admit(self, plan: TrialPlan) -> Entry:
        """Add a trial, and look up which of its blocks are complete."""
        blocks = tuple(plan_blocks(self.objective, plan, self.cache))
        ids = (block.block_id for block in blocks)
        entry = Entry(plan, blocks, frozenset(i for i in ids if self.ledger.is_complete(i)))
        self.entries[plan.number] = entry
        return entry

    def save(self, state: str, last_run: Mapping[str, Any] | None) -> None:
        """Write the study to the ledger.

        Args:
            state: ``running``, ``done``, ``failed`` or ``interrupted``.
            last_run: Figures of the last run that ended; None keeps those that are there.
        """
        name = self.spec.study
        if last_run is None:
            last_run = (self.ledger.study(name) or {}).get("last_run", {})
        self.ledger.remember_study(
            name,
            {
                "spec": self.spec.model_dump(mode="json"),
                "definition": self.definition,
                "unit": self.objective.unit,
                "state": state,
                "provenance": dict(self.tags),
                "trials": [self.entries[number].to_json() for number in sorted(self.entries)],
                "last_run": last_run,
            },
        )


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
        content = {"objective": objective.name, "work": identity, "streams": list(streams)}
        yield BlockPlan(content_hash(content), streams, objective.units(plan.params, streams))


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
