"""Edits of real XNLI test rows in 15 languages: ``python -m benchmarks.real``.

Runs the study ``xnli_real``, or continues it, in a home of its own, and prints a table a protocol
beside the figures of a prototype; ``--json`` prints the same for programs, and ``--picture`` draws
it. Needs ``MPN_REAL_DATA``: a folder with ``xnli/`` and ``models/xnli-minilm-multi/``.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.real_tables import json_of, markdown, of_protocol
from dashboards.figures import ablation_curve
from orchestrator.home import Home
from orchestrator.ledger import Ledger
from orchestrator.results import StudyResults

STUDY = "xnli_real"
_EXIT_NO_DATA = 2
_PICTURE_WIDTH = 1018  # as wide as the README's other curves


def run(home: Path, overrides: list[str]) -> None:
    """Run the study in a process of its own; exits as that does if it fails."""
    words = ["run", "xnli_real", "--home", str(home)]
    for override in overrides:
        words += ["--set", override]
    end = subprocess.run([sys.executable, "-m", "studies", *words], check=False)
    if end.returncode:
        sys.exit(end.returncode)


def found_in(home: Path) -> StudyResults:
    """Read what the study found."""
    results = StudyResults.load(Ledger(str(Home(home).ledger)), STUDY)
    assert results is not None
    return results


def machine() -> str:
    """Describe what the study ran on."""
    parts = [platform.processor() or platform.machine(), f"{os.cpu_count()} cores"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join([*parts, f"torch {torch.__version__}"])


def effort(results: StudyResults) -> str:
    """Say how many edits there were, and how long all actors worked on them."""
    blocks = {block for trial in results.trials for block in trial.block_ids}
    attempts = [results.ledger.attempt(block) for block in blocks]
    working_s = sum(attempt["working_s"] for attempt in attempts)
    n_edits = sum(attempt["units"] for attempt in attempts)
    n_mistakes = max(attempt["units"] for attempt in attempts)
    return (
        f"{n_mistakes} mistakes a trial, {n_edits:,} edits in {len(blocks)} blocks; "
        f"{working_s:.0f} s of work, loading and query caches included"
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("bench-home"), help="folder of results")
    parser.add_argument("--json", action="store_true", help="JSON in the place of tables")
    parser.add_argument("--picture", type=Path, help="PNG to draw the single edits to")
    parser.add_argument("--set", action="append", default=[], help="PATH=VALUE, as for mpn run")
    options = parser.parse_args()
    if not os.environ.get("MPN_REAL_DATA"):
        print(
            "MPN_REAL_DATA is not set: export it as the path of a folder with xnli/ and "
            "models/xnli-minilm-multi/. Nothing was run.",
            file=sys.stderr,
        )
        sys.exit(_EXIT_NO_DATA)
    run(options.home, options.set)
    results = found_in(options.home)
    if options.picture:
        from benchmarks.picture import save_picture  # needs the extra: browser

        figure = ablation_curve(of_protocol(results, "single"))
        save_picture(figure, options.picture, width=_PICTURE_WIDTH)
    if options.json:
        print(json.dumps({"machine": machine(), **json_of(results)}, allow_nan=False))
    else:
        print(f"{machine()}; {effort(results)}\n\n{markdown(results)}")


if __name__ == "__main__":
    main()
