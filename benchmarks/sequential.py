"""Where forty edits in sequence end: ``python -m benchmarks.sequential``.

Runs the study ``sequential``, or continues it, in a home of its own, and prints locality along the
streams beside what ``mpn table sequential`` has.
"""

import argparse
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.real import machine
from orchestrator.home import Home
from orchestrator.ledger import Ledger
from orchestrator.results import Estimate, StudyResults, TrialResult

STUDY = "sequential"
_AFTER = (5, 10, 20, 40)
_METRICS = {
    "reliability": "reliability",
    "edit_retention": "edit retention",
    "cross_lingual_generality": "CLG",
    "cross_lingual_generality_seen": "CLG seen",
    "cross_lingual_generality_unseen": "CLG unseen",
    "cross_lingual_rephrase": "CL rephrase",
    "cross_lingual_retention": "CLG at the end",
    "near_locality": "near locality",
}


def found_in(home: Path) -> StudyResults:
    """Run the study, or what is missing of it, and read what it found."""
    words = [sys.executable, "-m", "studies", "run", STUDY, "--home", str(home)]
    end = subprocess.run(words, check=False)
    if end.returncode:
        sys.exit(end.returncode)
    results = StudyResults.load(Ledger(str(Home(home).ledger)), STUDY)
    assert results is not None
    return results


def locality_after(results: StudyResults, trial: TrialResult, n_edits: int) -> Estimate:
    """Return locality after the first edits of each stream, the mean over languages."""
    found: dict[int, list[float]] = defaultdict(list)
    for record in results.records(trial):
        if record.metric == "locality" and record.position == n_edits - 1:
            found[record.stream].append(record.value)
    return Estimate.over([sum(own) / len(own) for own in found.values()], results.level)


def markdown(results: StudyResults) -> Iterator[str]:
    """Yield the lines of the table, in percent."""
    titles = [*(f"locality after {n}" for n in _AFTER), *_METRICS.values(), "Δ CLG"]
    yield f"| trial | {' | '.join(titles)} |"
    yield f"| --- |{' ---: |' * len(titles)}"
    for row in results.rows():
        cells = [_percent(locality_after(results, row.trial, n)) for n in _AFTER]
        cells += [_percent(row.metrics.get(metric)) for metric in _METRICS]
        gain = row.difference.get("cross_lingual_generality")
        cells.append("baseline" if row.trial.baseline else _percent(gain, sign="+"))
        yield f"| {row.trial.label} | {' | '.join(cells)} |"


def _percent(estimate: Estimate | None, sign: str = "") -> str:
    if estimate is None or estimate.high is None:
        return "–"
    half = estimate.high - estimate.mean
    return f"{100 * estimate.mean:{sign}.1f} ± {100 * half:.1f}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sequential", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("bench-home"), help="folder of results")
    results = found_in(parser.parse_args().home)
    print(machine(), "", *markdown(results), sep="\n")


if __name__ == "__main__":
    main()
