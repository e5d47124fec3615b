"""A mirror that was lost is made again from what the ledger remembers."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from orchestrator.results import StudyResults
from orchestrator.study_record import Entry, StudyRecord
from orchestrator.tracking.protocol import Tracker
from orchestrator.trials import TrialState

_ENDED = (TrialState.COMPLETE, TrialState.FAILED, TrialState.PRUNED)


def rebuild(
    record: StudyRecord,
    state: str,
    tracker: Tracker,
    artifacts: Callable[[StudyResults], Mapping[str, str]],
) -> int:
    """Mirror a study as the run that left it did: what is there already stays as it is.

    Args:
        record: As the ledger remembers it.
        state: ``done``, ``failed`` or ``interrupted``.
        tracker: The mirror.
        artifacts: Draws the study's tables and pages, file name to text.

    Returns:
        How many trials are mirrored.

    Raises:
        Exception: Whatever the tracker raises when it cannot be reached.
    """
    results = StudyResults.load(record.ledger, record.spec.study)
    assert results is not None
    begun = [e for _, e in sorted(record.entries.items()) if e.state is not TrialState.WAITING]
    spans = {entry.plan.number: _span_ms(record, entry) for entry in begun}
    known = [span for span in spans.values() if span is not None]
    whole = (min(s for s, _ in known), max(e for _, e in known)) if known else None
    tracker.open(replace(record.header, span_ms=whole))
    for entry in begun:
        span = spans[entry.plan.number]
        header = replace(entry.header, started_ms=span[0] if span else None)
        tracker.start_trial(header)
        if entry.state in _ENDED:
            tracker.finish_trial(header, record.trial_end(entry))
    tracker.finish_study(state, record.differences(results), artifacts(results))
    return len(begun)


def _span_ms(record: StudyRecord, entry: Entry) -> tuple[int, int] | None:
    """When the trial's complete blocks began and ended; None if there are none."""
    attempts = record.ledger.attempts(block.block_id for block in entry.blocks)
    timed = [a for a in attempts if {"started_s", "finished_s"} <= a.keys()]
    if not timed:
        return None
    began_s, ended_s = (min(a["started_s"] for a in timed), max(a["finished_s"] for a in timed))
    return int(began_s * 1000), int(ended_s * 1000)
