"""What an actor needs of a node, in the words of Ray's scheduler, and how many a node can hold."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.resources import ResourcesSpec

_GIB = 2**30
_DIGITS = 6  # Ray counts in ten-thousandths; what floats add beyond that is noise
_UNSHOWN = re.compile(r"node:|object_store_memory$|accelerator_type:")
_MOST_SHOWN = 8


@dataclass(frozen=True)
class Node:
    """A node of a cluster.

    Attributes:
        name: Its address.
        resources: All that it has, busy or free, by Ray's names; memory in bytes.
        labels: Its labels.
    """

    name: str
    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        amounts = [
            f"{name} {_amount(name, value)}"
            for name, value in sorted(self.resources.items())
            if not _UNSHOWN.match(name)
        ]
        labels = [f"{k}={v}" for k, v in sorted(self.labels.items()) if k != "ray.io/node-id"]
        return ", ".join([*amounts, *labels]) or "nothing"


@dataclass(frozen=True)
class Placement:
    """What each actor holds of its node, and which nodes will do.

    Attributes:
        gpus: GPUs; fractions share one.
        cpus: CPUs.
        memory_gib: RAM, in GiB, or None for no demand.
        custom: Custom resources by name.
        labels: Selectors by label, as Ray writes them, without spaces.
        strategy: ``pack`` fills nodes one after another, ``spread`` all alike.
    """

    gpus: float
    cpus: float
    memory_gib: float | None = None
    custom: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    strategy: Literal["pack", "spread"] = "pack"

    @classmethod
    def of(cls, resources: ResourcesSpec, *, gpus_around: bool) -> "Placement":
        """Take a study's resources; ``gpus_around`` says whether there are GPUs to default to."""
        gpus = resources.gpus if resources.gpus is not None else float(gpus_around)
        return cls(
            gpus,
            resources.cpus,
            resources.memory_gib,
            resources.custom,
            resources.labels,
            resources.strategy,
        )

    @property
    def further_options(self) -> dict[str, Any]:
        """The options of a Ray actor that is placed so, beside its CPUs and GPUs."""
        options: dict[str, Any] = {}
        if self.memory_gib is not None:
            options["memory"] = int(self.memory_gib * _GIB)
        if self.custom:
            options["resources"] = dict(self.custom)
        if self.labels:
            options["label_selector"] = dict(self.labels)
        if self.strategy == "spread":
            options["scheduling_strategy"] = "SPREAD"
        return options

    def fitting(self, node: Node) -> int:
        """How many actors a node can hold when nothing else runs on it."""
        if not all(selects(selector, node.labels.get(k)) for k, selector in self.labels.items()):
            return 0
        room = [
            _times(node.resources.get(name, 0.0), amount)
            for name, amount in self._amounts.items()
            if amount > 0
        ]
        if self.gpus > 0:
            there = node.resources.get("GPU", 0.0)
            # A fraction lies on one GPU: two GPUs hold four actors of 0.4, not five.
            shares = int(there) * _times(1.0, self.gpus)
            room.append(shares if self.gpus < 1 else _times(there, self.gpus))
        return min(room, default=0)

    def __str__(self) -> str:
        amounts = {"GPU": self.gpus, **self._amounts}
        parts = [f"{name} {_amount(name, value)}" for name, value in amounts.items() if value > 0]
        return ", ".join([*parts, *(f"{name}={value}" for name, value in self.labels.items())])

    @property
    def _amounts(self) -> dict[str, float]:
        memory = {} if self.memory_gib is None else {"memory": self.memory_gib * _GIB}
        return {"CPU": self.cpus, **memory, **self.custom}


def described(nodes: Iterable[Node]) -> str:
    """Say what nodes have, those that are alike together."""
    kinds = Counter(map(str, nodes))
    lines = [f"{count} x {kind}" for kind, count in kinds.most_common(_MOST_SHOWN)]
    rest = kinds.total() - sum(count for _, count in kinds.most_common(_MOST_SHOWN))
    return "\n".join([*lines, *([f"and {rest} more"] if rest else [])]) or "no nodes"


def _times(there: float, needed: float) -> int:
    return int(round(there / needed, _DIGITS))


def _amount(name: str, value: float) -> str:
    return f"{value / _GIB:.1f} GiB" if name == "memory" else f"{value:g}"


def selects(selector: str, value: str | None) -> bool:
    """Whether a selector takes a value; one that is negated takes a label that is not there."""
    chosen = selector.removeprefix("!")
    if chosen.startswith("in("):
        among = value in chosen[len("in(") : -1].split(",")
    else:
        among = value == chosen
    return among is not selector.startswith("!")
