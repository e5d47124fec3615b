"""The fast engines against the full model, side by side: ``python -m benchmarks.engine``.

``--quick`` measures the base shape alone, in under a minute. ``--json`` prints one JSON object of
``machine`` and ``rows``. Seconds are processor seconds of one thread, so that other processes on
the machine disturb little; on a GPU they are elapsed seconds. The main texts are as long as pairs
of XNLI; an edit has three rows, the source and two paired languages, or the source alone.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers

from benchmarks.engine_tables import markdown
from benchmarks.measures import (
    LARGE_MEMORY,
    MEMORY,
    NO_REPEATS,
    Extent,
    Row,
    edit,
    evaluations,
    growth,
    shares,
    steps,
    throughput,
)
from benchmarks.peak_memory import MeasuredApart
from benchmarks.shapes import Site, make_model, mean_tokens, parallel_texts, text_pairs
from benchmarks.timing import Seconds
from mpn.backbones import Backbone

_FULL = {
    "last": Extent((1, 8, 32, 128), (3, 1), 48, 5, {1: 1008, 32: 1008}),
    "middle": Extent((1, 8, 32), (3, 1), 8, 3, {1: 252, 32: 16}),
    "first": Extent((1, 8), (3, 1), 4, 3, {1: 84, 8: 16}),
}
_QUICK = {
    "last": Extent((1, 32), (3, 1), 40, 2, {1: 1008, 32: 1008}, evaluation_rounds=1),
    "middle": Extent((1,), (3,), 4, 2, {1: 12}, evaluation_rounds=1),
}
_SHORT = {
    "last": Extent((1, 32), (3, 1), 48, 5, {1: 1008}),
    "middle": Extent((1,), (3, 1), 12, 3, {1: 84}),
}
_SHOWN = ("model", "site", "streams", "what", "full")
_TOKENS = 40  # of a text at most: as long as pairs of XNLI are
_EXAMPLES, _QUICK_EXAMPLES, _SHORT_EXAMPLES = 28, 5, 28


def measure(*, quick: bool, folder: Path) -> Iterator[Row]:
    """Yield the rows of all models."""
    names = ["base"] if quick else ["tiny", "base"]
    if torch.cuda.is_available() and not quick:
        names.append("large")
    for name in names:
        model, cache = make_model(name, folder), folder / "queries" / name
        apart = MeasuredApart(model, cache / "apart", _QUICK_EXAMPLES)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        backbone = Backbone(model, device=device, max_tokens=_TOKENS)
        texts = text_pairs(_QUICK_EXAMPLES if quick else _EXAMPLES)
        about = {"model": name, "tokens_per_text": mean_tokens(backbone, texts)}
        extents = _QUICK if quick else _FULL
        sites = [Site(site_name, backbone, texts, cache / site_name) for site_name in extents]
        memory = apart.result()  # from now on nothing runs beside what is timed
        slow_text: Seconds | None = None
        for site, extent in zip(sites, extents.values(), strict=True):
            is_main = name == "base"
            for row in _of_site(site, extent, slow_text, is_main=is_main, quick=quick):
                if row["what"] == "evaluate":
                    n = row["streams"] * row["n_texts"]
                    slow_text = Seconds(row["full_s"], row["full_wall_s"]) / n
                is_edit_alone = (row["what"], row["streams"], site.name) == ("edit", 1, "last")
                yield about | row | (memory if is_edit_alone else {})
        if name != "tiny" and not quick:
            texts = parallel_texts(_SHORT_EXAMPLES)
            about["tokens_per_text"] = mean_tokens(backbone, texts)
            for site_name, extent in _SHORT.items():
                site = Site(site_name, backbone, texts, cache / f"{site_name}-short")
                for row in (*steps(site, extent), *evaluations(site, extent)):
                    yield about | row


def _of_site(
    site: Site, extent: Extent, slow_text: Seconds | None, *, is_main: bool, quick: bool
) -> Iterator[Row]:
    """Yield the rows of one site.

    Args:
        site: The site.
        extent: How much.
        slow_text: See :func:`benchmarks.measures.evaluations`.
        is_main: Whether it is of the shape that the targets speak of.
        quick: Whether to leave out what takes long.
    """
    is_last, slow_step = site.name == "last", 0.0
    for row in steps(site, extent):
        is_headline = row["n_rows"] == extent.n_rows[0] and row["full"] != NO_REPEATS
        if row["n_rows"] == 1 and row["streams"] == 1 and row["full"] != NO_REPEATS:
            slow_step = row["full_s"]
        if is_headline and row["streams"] in ((1, 32) if is_last else (1,)):
            row["parts"] = shares(site, row["streams"], row["n_rows"], extent.n_steps)
        yield row
    for row in evaluations(site, extent, slow_text):
        if is_last and is_main and row["streams"] == 1:
            row |= growth(site, len(site.texts))
        yield row
    if site.name == "first" or (quick and not is_last):
        return
    rounds = 3 if is_last and not quick else 1
    for n_streams in (1, 32) if is_last else (1,):
        yield edit(site, n_streams, memory=MEMORY, rounds=rounds, slow_step=slow_step)
    if is_last and is_main:
        if not quick:
            yield edit(site, 32, memory=LARGE_MEMORY, rounds=1, slow_step=slow_step)
        yield from throughput(site, extent.streams, extent.rounds)


def machine() -> str:
    """Describe what the figures were measured on."""
    parts = [platform.processor() or platform.machine(), f"{os.cpu_count()} cores", "1 thread"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join([*parts, f"torch {torch.__version__}"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the base shape, two sites")
    parser.add_argument("--json", action="store_true", help="JSON in the place of tables")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for row in measure(quick=options.quick, folder=Path(folder)):
            print(*(row[name] for name in _SHOWN), f"{row['ratio']:.3g} x", file=sys.stderr)
            rows.append(row)
    if options.json:
        print(json.dumps({"machine": machine(), "rows": rows}, allow_nan=False))
    else:
        print(markdown(machine(), rows))


if __name__ == "__main__":
    main()
