"""What makes two things the same: canonical JSON and its hash."""

import hashlib
import json
import math
from collections.abc import Sequence


def canonical_json(value: object) -> str:
    """Write a value in the one way that everything equal to it is written.

    Keys are sorted, there are no spaces, all is ASCII, floats are the shortest digits that read
    back to the same number. A float stays a float: ``1.0`` and ``1`` are written, and so hashed,
    differently; whoever takes them for the same (a field that is a float, say) converts first.

    Args:
        value: Nested dicts with text keys, lists, text, numbers, booleans and None; subclasses
            and tuples are refused, since what they would read back as differs.

    Returns:
        The JSON text.

    Raises:
        TypeError: If something in ``value`` is of another type; names the place.
        ValueError: If a number is not finite; names the place.
    """
    _check(value, "")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_hash(value: object) -> str:
    """Hash a value by its content.

    Args:
        value: As ``canonical_json`` takes it.

    Returns:
        SHA-256 of the canonical JSON, 64 hexadecimal digits.

    Raises:
        TypeError: As ``canonical_json`` does.
        ValueError: As ``canonical_json`` does.
    """
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def block_id(objective: str, work: object, streams: Sequence[int]) -> str:
    """Name a block by everything that changes its records.

    Args:
        objective: Name of the objective.
        work: Its identity of the trial.
        streams: Numbers of the block's streams.

    Returns:
        64 hexadecimal digits.
    """
    return content_hash({"objective": objective, "work": work, "streams": list(streams)})


def _check(value: object, place: str) -> None:
    where = place or "the top"
    if isinstance(value, dict) and type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"{where}: the key {key!r} is of type {_name(key)}, not str")
            _check(item, f"{place}.{key}" if place else key)
    elif isinstance(value, list) and type(value) is list:
        for index, item in enumerate(value):
            _check(item, f"{place}[{index}]")
    elif isinstance(value, float) and type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"{where}: {value} is not a finite number")
    elif value is not None and type(value) not in (str, int, bool):
        raise TypeError(
            f"{where}: type {_name(value)} has no canonical JSON; "
            "convert it to dict, list, str, int, float, bool or None"
        )


def _name(value: object) -> str:
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return module + kind.__qualname__
