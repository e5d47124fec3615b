"""How far a study is, from what the ledger holds."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from orchestrator.home import Home
from orchestrator.ledger import Ledger
from orchestrator.locks import is_running
from orchestrator.trials import TrialState


def study_status(study: str, memory: Mapping[str, Any], home: Home) -> dict[str, Any]:
    """Count trials and blocks by state.

    Args:
        study: Name of the study.
        memory: What the ledger remembers of it.
        home: Where it runs.

    Returns:
        ``state``, ``trials`` and ``blocks`` (state to number), and ``last_run``. A trial whose
        blocks are all complete is complete, whatever a killed driver last wrote, unless it was
        pruned before anybody noticed how far it had run; one that is not complete is
        ``waiting`` again when no driver runs.
    """
    ledger = Ledger(home.ledger)
    alive = memory["state"] == "running" and is_running(study, home)
    trials: Counter[str] = Counter({str(state): 0 for state in TrialState})
    blocks: Counter[str] = Counter({str(state): 0 for state in TrialState})
    for trial in memory["trials"]:
        ids = [block["block_id"] for block in trial["blocks"]]
        n_complete = len(ledger.results(ids))
        state = trial["state"]
        if n_complete == len(ids) and state != TrialState.PRUNED:
            state = str(TrialState.COMPLETE)
        elif state == TrialState.COMPLETE or (state == TrialState.RUNNING and not alive):
            state = str(TrialState.WAITING)
        trials[state] += 1
        blocks[str(TrialState.COMPLETE)] += n_complete
        blocks[state] += len(ids) - n_complete
    state = memory["state"]
    if state == "running" and not alive:
        state = "interrupted"
    last_run = dict(memory["last_run"])
    for figure in ("per_s", "spared"):
        if f"units_{figure}" in last_run:
            last_run[f"{memory['unit']}_{figure}"] = last_run.pop(f"units_{figure}")
    return {
        "study": study,
        "state": state,
        "trials": dict(trials),
        "blocks": dict(blocks),
        "last_run": last_run,
    }
