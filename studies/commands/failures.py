"""Why a trial failed, in six lines."""

from pathlib import Path

from orchestrator.logs import worker_name
from orchestrator.trials import Failure


def failure_lines(study: str, failure: Failure, *, log: Path, unit: str, again: str) -> str:
    """Say what failed, which try it was, why, where, and what now.

    Args:
        study: Name of the study.
        failure: What the scheduler knows.
        log: The driver's log file.
        unit: What a unit of the work is called, in the plural.
        again: The command that tries it again.

    Returns:
        Six lines.
    """
    streams = ", ".join(map(str, failure.streams))
    within = f"stream{'s' * (len(failure.streams) > 1)} {streams}"
    if failure.position is None:
        place = f"somewhere in {failure.units} {unit} of {within}"
    else:
        place = f"after {failure.position} of {failure.units} {unit} of {within}"
    cause = " ".join(failure.reason.split())
    return "\n".join(
        [
            f"trial {failure.trial} of {study} failed",
            f"  attempt   {failure.attempt} of {failure.attempts}",
            f"  cause     {cause}, {place}",
            f"  worker    {failure.worker or 'gone before it said which'}",
            f"  log path  {_log_path(failure, log)}",
            f"  retried   no: {failure.why_final}; mend it and resume with: {again}",
        ]
    )


def _log_path(failure: Failure, log: Path) -> str:
    """Name the worker's log, with its machine if that is not this one, or else the driver's."""
    if not failure.log:
        return str(log)
    host = failure.worker.rpartition(":")[0]
    here = worker_name().rpartition(":")[0]
    return failure.log if host == here else f"{host}:{failure.log}"
