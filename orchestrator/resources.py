"""What a study file may say of machines and of trouble: nothing that changes a result."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat

from orchestrator.errors import refusal, shown

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_SELECTOR_RULE = "a label's value, '!value', 'in(a, b)' or '!in(a, b)'"
_SELECTOR = re.compile(rf"!?(?:{_LABEL}|in\({_LABEL}(?:, *{_LABEL})*\))")
_RAYS_OWN = {"cpu": "cpus", "gpu": "gpus", "memory": "memory_gib"}


class Part(BaseModel):
    """A part of a study file: nothing unknown, nothing changed, no value of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _whole_above_one(gpus: float) -> float:
    if gpus > 1 and gpus != int(gpus):
        raise refusal(f"{gpus} is no number of GPUs", "a fraction of one, or whole GPUs")
    return gpus


def _label_selector(selector: str) -> str:
    if not _SELECTOR.fullmatch(selector):
        raise refusal(f"{shown(selector)} selects no label", _SELECTOR_RULE)
    return selector.replace(" ", "")  # Ray waits for ever for a label with a space


def _absolute(path: str) -> str:
    if not PurePosixPath(path).is_absolute():
        raise refusal(f"{shown(path)} is not an absolute path", "a path that begins with /")
    return path


def _custom_resource(name: str) -> str:
    if (own := _RAYS_OWN.get(name.lower())) is not None:
        raise refusal(f"{shown(name)} is Ray's own", f"write resources.{own}")
    return name


class BudgetSpec(Part):
    """When to stop."""

    max_trials: int = Field(200, ge=1, description="a whole number, at least 1")
    max_failed_trials: int | None = Field(
        None, ge=0, description="a whole number, at least 0, or null for any number"
    )


class ResourcesSpec(Part):
    """What the actors hold; decides how fast results come, not which.

    ``threads`` are CPU threads per actor; they do decide the last bits of a sum.
    ``checkpoint_every_s`` is how much work of a block a kill may cost, beyond the unit under way.
    ``cache_gib`` is the most that the cache folder of the actors may hold; ``cache`` is that folder
    on each node, and may be a node's own. ``memory_gib``, ``custom`` and ``labels`` choose nodes of
    a cluster: RAM, custom resources and labels in Ray's sense; ``strategy`` fills nodes one after
    another, or all alike.
    """

    actors: int | None = Field(
        None, ge=1, description="a whole number, at least 1, or null for as many as fit"
    )
    gpus: Annotated[float, AfterValidator(_whole_above_one)] | None = Field(
        None, ge=0, description="GPUs per actor, at least 0, or null for one where there are any"
    )
    cpus: float = Field(1, gt=0, description="a number above 0")
    memory_gib: float | None = Field(
        None, gt=0, description="GiB of RAM per actor, a number above 0, or null for no demand"
    )
    custom: dict[Annotated[str, AfterValidator(_custom_resource)], PositiveFloat] = Field(
        {}, description="a mapping from names of resources to amounts per actor: {a100: 1}"
    )
    labels: dict[str, Annotated[str, AfterValidator(_label_selector)]] = Field(
        {}, description="a mapping from labels of nodes to values: {zone: b}"
    )
    strategy: Literal["pack", "spread"] = Field("pack", description="pack or spread")
    threads: int = Field(1, ge=1, description="a whole number, at least 1")
    checkpoint_every_s: float = Field(
        1.0, ge=0, description="seconds of work that a kill may cost, at least 0"
    )
    cache_gib: float = Field(20.0, gt=0, description="GiB, a number above 0")
    cache: Annotated[str, AfterValidator(_absolute)] | None = Field(
        None, description="an absolute path on every node, or null for the home's cache"
    )


class RetrySpec(Part):
    """When a block is given up; see :class:`orchestrator.endurance.RetryPolicy`."""

    attempts: int = Field(3, ge=1, description="a whole number, at least 1")
    backoff_s: float = Field(1.0, ge=0, description="seconds, at least 0")
    patience_s: float = Field(600.0, ge=0, description="seconds, at least 0")
    silence_s: float = Field(120.0, gt=0, description="seconds, above 0")
    stall_s: float = Field(3600.0, gt=0, description="seconds, above 0")
