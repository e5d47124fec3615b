"""What goes where in a figure: metrics to panels, a parameter to the axis, trials to marks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.look import DASHES, PALETTE, SYMBOLS, brief, ordered_colours, shown, words
from orchestrator.results import Row, StudyResults

MOST_LINES = 7
_LOGARITHMIC_FROM = 50.0  # largest over smallest value


@dataclass(frozen=True)
class Line:
    """Trials that differ in the parameter along the axis only.

    Attributes:
        name: What they share, for a legend; empty if nothing else is swept.
        rows: The trials, by that parameter.
    """

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Grid:
    """A swept numeric parameter, and the lines along it.

    Attributes:
        path: The parameter.
        values: Its values, ascending.
        logarithmic: Whether they span so much that a linear axis would hide the small ones.
        lines: In order of the trials.
    """

    path: str
    values: tuple[float, ...]
    logarithmic: bool
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Mark:
    """How a trial is drawn wherever each trial is drawn for itself."""

    colour: str
    symbol: str
    dash: str


@dataclass(frozen=True)
class Seen:
    """In how many measurements of a trial a language had taken part in the training."""

    n_seen: int
    n: int

    @property
    def state(self) -> str:
        """``always``, ``sometimes`` or ``never``."""
        if self.n_seen == 0:
            return "never"
        return "always" if self.n_seen == self.n else "sometimes"


def variants(results: StudyResults) -> dict[str, str]:
    """Return the primary metric and what it splits into, with names for people.

    Returns:
        Metric to name; only what some trial has.
    """
    primary, found = results.measure["primary"], _found(results)
    what = words(primary).capitalize()
    parts = {f"{primary}_seen": "seen languages", f"{primary}_unseen": "unseen languages"}
    split = {metric: f"{what}: {part}" for metric, part in parts.items() if metric in found}
    names = {
        primary: f"{what}: all target languages" if split else what,
        **split,
        "cross_lingual_rephrase": "Rephrases: all target languages",
    }
    return {metric: name for metric, name in names.items() if metric in found}


def headline_metrics(results: StudyResults) -> list[str]:
    """Return what a reader wants first: reliability, the primary metric split, the guards."""
    wanted = ["reliability", *variants(results), *results.measure["guard"]]
    found = _found(results)
    return [metric for metric in dict.fromkeys(wanted) if metric in found]


def languages(results: StudyResults) -> list[str]:
    """Return all languages in which the primary metric was measured in some trial."""
    prefix = f"{results.measure['primary']}/"
    return sorted(name.removeprefix(prefix) for name in _found(results) if name.startswith(prefix))


def seen_languages(results: StudyResults, row: Row) -> dict[str, Seen]:
    """Count, by language, how often the primary metric was measured on a seen language."""
    primary = results.measure["primary"]
    n: Counter[str] = Counter()
    n_seen: Counter[str] = Counter()
    for record in results.records(row.trial):
        if record.metric == primary:
            n[record.part] += 1
            n_seen[record.part] += record.seen
    return {language: Seen(n_seen[language], n[language]) for language in n}


def swept_paths(rows: Sequence[Row]) -> list[str]:
    """Return the parameters that differ between trials, in file order."""
    if not rows:
        return []
    values = {
        path: {shown(row.trial.params[path]) for row in rows} for path in rows[0].trial.params
    }
    return [path for path, found in values.items() if len(found) > 1]


def grid(results: StudyResults) -> Grid | None:
    """Lay the trials along the first numeric parameter that is swept.

    Returns:
        None where that would not show the study: it ablates, no number is swept, or nearly
        every trial would be a line of its own.
    """
    rows = results.rows()
    memory = results.ledger.study(results.study) or {}
    if memory.get("spec", {}).get("ablate"):
        return None
    paths = swept_paths(rows)
    path = next((p for p in paths if all(_is_number(row.trial.params[p]) for row in rows)), None)
    if path is None:
        return None
    lines: dict[tuple[str, ...], list[Row]] = {}
    others = [other for other in paths if other != path]
    for row in rows:
        key = tuple(shown(row.trial.params[other]) for other in others)
        lines.setdefault(key, []).append(row)
    if len(lines) > MOST_LINES or (len(lines) == len(rows)):
        return None
    values = tuple(sorted({number(row, path) for row in rows}))
    logarithmic = values[0] > 0 and values[-1] / values[0] >= _LOGARITHMIC_FROM
    return Grid(
        path,
        values,
        logarithmic,
        tuple(
            Line(
                ", ".join(f"{p} = {brief(found[0].trial.params[p])}" for p in others),
                tuple(sorted(found, key=lambda row: number(row, path))),
            )
            for found in lines.values()
        ),
    )


def number(row: Row, path: str) -> float:
    """Return a swept number of a trial."""
    return float(row.trial.params[path])


def marks(results: StudyResults) -> dict[int, Mark]:
    """Give every trial a mark: along a grid the colour follows the axis, the shape the line."""
    rows, laid = results.rows(), grid(results)
    if laid is None:
        return {
            row.trial.number: Mark(
                PALETTE[i % len(PALETTE)], _cycled(SYMBOLS, i), _cycled(DASHES, i)
            )
            for i, row in enumerate(rows)
        }
    colours = dict(zip(laid.values, ordered_colours(len(laid.values)), strict=True))
    return {
        row.trial.number: Mark(
            colours[number(row, laid.path)], SYMBOLS[i % len(SYMBOLS)], DASHES[i % len(DASHES)]
        )
        for i, line in enumerate(laid.lines)
        for row in line.rows
    }


def _cycled(options: Sequence[str], index: int) -> str:
    """Change the shape only when the palette begins again."""
    return options[index // len(PALETTE) % len(options)]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _found(results: StudyResults) -> set[str]:
    return {name for row in results.rows() for name in row.metrics}
