"""What the ledger remembers of a study, checked: whoever reads it need not trust the file."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.errors import InputError, problems_in
from orchestrator.trials import TrialState


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Block(_Part):
    block_id: str = Field(pattern="^[0-9a-f]{64}$", description="64 hexadecimal digits")
    streams: list[int] = Field(description="a list of numbers")
    units: int = Field(ge=0, description="a number, at least 0")


class _Trial(_Part):
    number: int = Field(ge=0, description="a number, at least 0")
    label: str = Field(description="text")
    baseline: bool = Field(description="true or false")
    state: Literal[tuple(map(str, TrialState))] = Field(description="a state of a trial")  # type: ignore[valid-type]
    params: dict[str, Any] = Field(description="a mapping")
    changes: dict[str, Any] = Field(description="a mapping")
    failure: str | None = Field(None, description="text, or null")
    blocks: list[_Block] = Field(description="a list")


class _Flight(_Part):
    block_id: str = Field(description="text")
    trial: int = Field(description="a number")
    attempt: int = Field(description="a number")
    streams: list[int] = Field(description="a list of numbers")
    done: int = Field(description="a number")


class _Progress(_Part):
    driver: str = Field(description="text")
    elapsed_s: float = Field(ge=0, description="a number, at least 0")
    units_done: int = Field(description="a number")
    units_missing: int = Field(description="a number")
    blocks: dict[str, int] = Field(description="a mapping from states to numbers")
    in_flight: list[_Flight] = Field(description="a list")
    retries: int = Field(description="a number")
    lost: dict[str, int] = Field(description="a mapping from reasons to numbers")


class _Interval(_Part):
    level: float = Field(gt=0, lt=1, description="a number between 0 and 1")


class _Measure(_Part):
    primary: str = Field(description="text")
    interval: _Interval = Field(description="a mapping")


class _Spec(_Part):
    question: str = Field(description="text")
    expect: str | None = Field(None, description="text, or null")
    measure: _Measure = Field(description="a mapping")


class _Memory(_Part):
    spec: _Spec = Field(description="a mapping")
    unit: str = Field(description="text")
    state: Literal["running", "done", "failed", "interrupted"] = Field(
        description="running, done, failed or interrupted"
    )
    last_run: dict[str, Any] = Field(description="a mapping")
    progress: _Progress | None = Field(None, description="a mapping, or null")
    trials: list[_Trial] = Field(description="a list")


def checked(content: object, file: str) -> dict[str, Any]:
    """Return what is remembered of a study, once it is sure to be what a driver writes.

    Args:
        content: What was read.
        file: Where it was read, for the message.

    Raises:
        InputError: If it is anything else.
    """
    try:
        _Memory.model_validate(content)
    except ValidationError as error:
        footer = (
            "A driver did not write this. Its results are safe beside it: remove the file, and "
            "run the study again; what is complete is not run again."
        )
        raise InputError(file, problems_in(error, _Memory)[:10], footer) from None
    assert isinstance(content, dict)
    return content
