"""What trials are called: an ablation's name, or what is changed, as short as tells them apart."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from orchestrator.identity import canonical_json

_LONGEST_VALUE = 40


class Labelled(Protocol):
    """A cell of a study: where it stands in the file, and what it changes."""

    @property
    def section(self) -> str:
        """``base``, ``sweep``, ``ablate.NAME`` or ``search.space``."""
        ...

    @property
    def changes(self) -> Mapping[str, object]:
        """Values by path."""
        ...


def labels_of(cells: Sequence[Labelled]) -> list[str]:
    """Return what cells are called: the shortest form in which no two are the same."""
    among = {
        path: [cell.changes[path] for cell in cells if path in cell.changes]
        for path in dict.fromkeys(path for cell in cells for path in cell.changes)
    }
    labels = [label_of(cell) for cell in cells]
    if len(set(labels)) < len(labels):
        labels = [_label(cell, lambda p, v: _told_apart(v, among[p])) for cell in cells]
    if len(set(labels)) < len(labels):
        labels = [_label(cell, lambda _, v: canonical_json(v), whole=True) for cell in cells]
    return labels


def label_of(cell: Labelled) -> str:
    """Return what a cell is called where no other has to be told from it."""
    return _label(cell, lambda _, value: brief(value))


def brief(value: object) -> str:
    """Show a value in a few characters: of a mapping that has one, its name."""
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        value = value["name"]
    if isinstance(value, float):
        value = float(f"{value:.4g}")
    text = value if isinstance(value, str) else canonical_json(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _label(cell: Labelled, show: Callable[[str, object], str], *, whole: bool = False) -> str:
    if cell.section.startswith("ablate."):
        return cell.section.removeprefix("ablate.")
    parts = (
        f"{path if whole else _last_keys(path, cell.changes)}={show(path, value)}"
        for path, value in cell.changes.items()
    )
    return " ".join(parts) or "base"


def _told_apart(value: object, others: Sequence[object]) -> str:
    """Show a mapping with what tells it from others of its name: ``finetune{part=layer}``."""
    if not isinstance(value, Mapping):
        return brief(value)
    alike = [other for other in others if isinstance(other, Mapping) and other != value]
    alike = [other for other in alike if other.get("name") == value.get("name")]
    telling = " ".join(_telling(value, alike))
    return f"{brief(value)}{{{telling}}}" if telling else brief(value)


def _telling(own: Mapping[str, object], others: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Yield what of a mapping is not so in all others; of what no other has, a mapping's key."""
    for key, value in own.items():
        theirs = [other[key] for other in others if key in other]
        if theirs == [value] * len(others):
            continue
        if not isinstance(value, Mapping):
            yield f"{key}={brief(value)}"
        elif nested := [one for one in theirs if isinstance(one, Mapping)]:
            yield from (f"{key}.{inner}" for inner in _telling(value, nested))
        else:
            yield key


def _last_keys(path: str, paths: Iterable[str]) -> str:
    """Cut a path to the fewest last keys that tell it from the others."""
    keys = path.split(".")
    tails = (".".join(keys[-count:]) for count in range(1, len(keys)))
    alone = (t for t in tails if sum(f".{other}".endswith(f".{t}") for other in paths) == 1)
    return next(alone, path)
