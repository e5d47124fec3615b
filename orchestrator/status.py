"""How far a study is, from what the ledger holds."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from orchestrator.home import Home
from orchestrator.ledger import Ledger
from orchestrator.locks import is_running
from orchestrator.scheduler import BlockState, TrialState


def study_status(study: str, memory: Mapping[str, Any], home: Home) -> dict[str, Any]:
    """Count trials and blocks by state.

    Args:
        study: Name of the study.
        memory: What the ledger remembers of it.
        home: Where it runs.

    Returns:
        ``state``, ``trials`` and ``blocks`` (state to number), and ``last_run``. A trial whose
        blocks are all complete is complete, whatever a killed driver last wrote; one that is
        not is ``waiting`` again when no driver runs.
    """
    ledger = Ledger(home.ledger)
    alive = memory["state"] == "running" and is_running(study, home)
    trials: Counter[str] = Counter({str(state): 0 for state in TrialState})
    blocks: Counter[str] = Counter({str(s): 0 for s in BlockState if s != BlockState.CANCELLED})
    for trial in memory["trials"]:
        complete = [ledger.result(block["block_id"]) is not None for block in trial["blocks"]]
        state = trial["state"]
        if all(complete):
            state = str(TrialState.COMPLETE)
        elif state == TrialState.COMPLETE or (state == TrialState.RUNNING and not alive):
            state = str(TrialState.WAITING)
        trials[state] += 1
        blocks[str(BlockState.COMPLETE)] += sum(complete)
        blocks[state] += len(complete) - sum(complete)
    state = memory["state"]
    if state == "running" and not alive:
        state = "interrupted"
    last_run = dict(memory["last_run"])
    if "units_per_s" in last_run:
        last_run[f"{memory['unit']}_per_s"] = last_run.pop("units_per_s")
    return {
        "study": study,
        "state": state,
        "trials": dict(trials),
        "blocks": dict(blocks),
        "last_run": last_run,
    }
