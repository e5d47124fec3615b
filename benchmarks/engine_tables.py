"""What the engine benchmark prints: what was asked for, all rows, and where the time goes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.measures import (
    LARGE_MEMORY,
    MEMORY,
    NO_REPEATS,
    REPEATS,
    SEARCHED_MEMORY,
    Row,
)


def markdown(machine: str, rows: Sequence[Row]) -> str:
    """Return the whole report."""
    parts = [machine, _explanation()]
    parts += [_table(["asked", "tokens", "measured", ""], list(_targets(rows)))]
    head = ["model", "site", "streams", "tokens", "what", "full s", "fast s", "ratio"]
    parts += [_table(head, [_cells(row) for row in rows])]
    parts += ["Where the time of a step goes (three rows an edit, 2,000 memory rows):"]
    parts += [_table(*_parts(rows))]
    return "\n\n".join(parts)


def _explanation() -> str:
    return (
        "Full: the whole model; its figures are of one stream times the number of streams, since "
        "it edits one after another. Fast: all streams side by side. An edit's figures are of one "
        "edit. Tokens: of a text, on average. Seconds are processor seconds of one thread (on a "
        "GPU, elapsed seconds), medians of turns."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(row: Row) -> list[str]:
    return [
        row["model"],
        row["site"],
        str(row["streams"]),
        f"{row['tokens_per_text']:.0f}",
        _description(row),
        f"{row['full_s']:.4g}",
        f"{row['fast_s']:.4g}",
        f"{row['ratio']:,.1f}" if row["ratio"] < 10 else f"{row['ratio']:,.0f}",
    ]


def _description(row: Row) -> str:
    if row["what"] == "evaluate":
        return f"evaluate {row['n_texts']:,} texts; full: {row['full']}"
    if row["what"] == "edit":
        what = f"edit, {row['steps']:.0f} steps on 8 views, memory {row['memory']:,}"
        return f"{what}; full: {row['full']}"
    rows = "1 row" if row["n_rows"] == 1 else f"{row['n_rows']} rows"
    return f"step, {rows}, memory {row['memory']:,}; full: {row['full']}"


def _parts(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    measured = [row for row in rows if "parts" in row]
    names = list(measured[0]["parts"])
    lines = []
    for row in measured:
        total = sum(row["parts"].values())
        shares = [f"{row['parts'][name] / total:.0%}" for name in names]
        lines.append(
            [row["model"], row["site"], str(row["streams"]), *shares, f"{total * 1e3:.3g}"]
        )
    return ["model", "site", "streams", *names, "sum, ms"], lines


@dataclass(frozen=True)
class Target:
    """A figure of the base shape that is asked for.

    Attributes:
        asked: In words.
        measured: Reads it from the rows; raises KeyError where it is missing.
        limit: At least, or at most, so much.
        at_least: Which of the two.
    """

    asked: str
    measured: Callable[[Sequence[Row]], float]
    limit: float
    at_least: bool


def _first(rows: Sequence[Row], **wanted: Any) -> Row:
    for row in rows:
        if all(row.get(name) == value for name, value in wanted.items()):
            return row
    raise KeyError(str(wanted))


def _ratio(**wanted: Any) -> Callable[[Sequence[Row]], float]:
    return lambda rows: float(_first(rows, **wanted)["ratio"])


def _field(name: str, **wanted: Any) -> Callable[[Sequence[Row]], float]:
    return lambda rows: float(_first(rows, site="last", **wanted)[name])


def _gain(rows: Sequence[Row]) -> float:
    wanted = {"what": "step", "memory": SEARCHED_MEMORY, "site": "last"}
    one, many = [_first(rows, streams=n, **wanted)["edits_per_s"] for n in (1, 32)]
    return float(many / one)


def _peak(rows: Sequence[Row]) -> float:
    row = _first(rows, site="last", what="edit", streams=1)
    return float(row["peak_bytes"] / (row["model_bytes"] + row["cache_bytes"]))


_STEP = {"what": "step", "streams": 1, "memory": MEMORY}
_PAIRED = {**_STEP, "n_rows": 3}
_ALONE = {**_STEP, "n_rows": 1, "full": f"{REPEATS} repeats"}
_REPEATED = {**_PAIRED, "full": f"{REPEATS} repeats"}
_TARGETS = (
    Target("a step, last layer, 8 repeats: >= 100 x", _ratio(site="last", **_REPEATED), 100, True),
    Target(
        "a step, last layer, source alone, 8 repeats: >= 100 x",
        _ratio(site="last", **_ALONE),
        100,
        True,
    ),
    Target(
        "an evaluation, last layer: >= 1,000 x",
        _ratio(site="last", what="evaluate", streams=1),
        1000,
        True,
    ),
    Target(
        "an evaluation, last layer, 32 streams: >= 1,000 x",
        _ratio(site="last", what="evaluate", streams=32),
        1000,
        True,
    ),
    Target("edits a second, 32 streams: >= 8 x those of one", _gain, 8, True),
    Target(
        "a step, middle layer, no repeats: >= 1.8 x",
        _ratio(site="middle", **_PAIRED, full=NO_REPEATS),
        1.8,
        True,
    ),
    Target("a step, middle layer, 8 repeats: >= 8 x", _ratio(site="middle", **_REPEATED), 8, True),
    Target(
        "a step, middle layer, source alone, 8 repeats: >= 8 x",
        _ratio(site="middle", **_ALONE),
        8,
        True,
    ),
    Target(
        "evaluation after edit 1,000: <= 1.2 x that after edit 10",
        _field("growth", what="evaluate", streams=1),
        1.2,
        False,
    ),
    Target(
        "an edit, alone: <= 0.6 CPU s",
        _field("cpu_s", what="edit", streams=1, memory=MEMORY),
        0.6,
        False,
    ),
    Target(
        "an edit, 32 side by side: <= 0.12 CPU s",
        _field("cpu_s", what="edit", streams=32, memory=MEMORY),
        0.12,
        False,
    ),
    Target(
        "an edit, 32 side by side, 40,000 memory rows: <= 3 CPU s",
        _field("cpu_s", what="edit", streams=32, memory=LARGE_MEMORY),
        3,
        False,
    ),
    Target("a patch on disk: <= 20,000 bytes", _field("patch_bytes", what="edit"), 20_000, False),
    Target("peak memory: <= 1.5 x model and query cache", _peak, 1.5, False),
)


def _targets(rows: Sequence[Row]) -> Iterator[list[str]]:
    """Yield what was asked for, what was measured of it, and whether it is met."""
    base = [row for row in rows if row["model"] == "base"]
    lengths = dict.fromkeys(row["tokens_per_text"] for row in base)
    for target in _TARGETS:
        is_measured = False
        for tokens in lengths:
            try:
                value = target.measured([r for r in base if r["tokens_per_text"] == tokens])
            except KeyError:
                continue
            is_measured = True
            met = value >= target.limit if target.at_least else value <= target.limit
            shown = f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
            yield [target.asked, f"{tokens:.0f}", shown, "met" if met else "missed"]
        if not is_measured:
            yield [target.asked, "", "", "not measured here"]
