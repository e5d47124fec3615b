"""What a study would run, looked up without running anything."""

from collections.abc import Iterator
from typing import Any

from orchestrator.home import Home
from orchestrator.ledger import Ledger
from orchestrator.objective import Objective
from orchestrator.plan import TrialPlan, expand
from orchestrator.spec import StudySpec
from orchestrator.study_record import plan_blocks


def planned(spec: StudySpec, objective: Objective, home: Home) -> dict[str, Any]:
    """Describe a study's trials as ``mpn plan --json`` prints them.

    Args:
        spec: The study.
        objective: What it asks.
        home: Where finished blocks would be found.

    Returns:
        ``study``, ``unit``, ``prepared`` (whether base models and trained editors are there),
        ``search``, ``totals`` (``trials``, ``blocks``, ``blocks_in_ledger``, ``units``) and
        ``trials``.
    """
    trials = list(_trials(spec, objective, home))
    counted = ("blocks", "blocks_in_ledger", "units")
    return {
        "study": spec.study,
        "unit": objective.unit,
        "prepared": all(trial.pop("prepared") for trial in trials),
        "search": spec.search is not None,
        "totals": {
            "trials": len(trials) if spec.search is None else spec.search.trials,
            **{key: sum(trial[key] for trial in trials) for key in counted},
        },
        "trials": trials,
    }


def _trials(spec: StudySpec, objective: Objective, home: Home) -> Iterator[dict[str, Any]]:
    ledger = Ledger(home.ledger)
    for trial in expand(spec, objective):
        prepared = objective.identity(trial.params, home.cache) is not None
        streams = objective.blocks(trial.params)
        yield {
            "trial": trial.number,
            "label": trial.label,
            "baseline": trial.baseline,
            "params": trial.changes,
            "blocks": len(streams),
            "blocks_in_ledger": _n_complete(trial, objective, home, ledger) if prepared else 0,
            "units": sum(objective.units(trial.params, block) for block in streams),
            "prepared": prepared,
        }


def _n_complete(trial: TrialPlan, objective: Objective, home: Home, ledger: Ledger) -> int:
    blocks = plan_blocks(objective, trial, home.cache)
    return len(ledger.complete_among(block.block_id for block in blocks))
