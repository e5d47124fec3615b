"""Label names, however they are spelt."""

import functools
import re
from collections.abc import Iterable

_BETWEEN_WORDS = re.compile(r"[\s_-]+")


@functools.lru_cache(maxsize=1024)
def label_key(name: str) -> str:
    """Return what all spellings of a label share: ``NOT ENOUGH INFO`` is ``not_enough_info``."""
    return _BETWEEN_WORDS.sub(" ", name).strip().casefold()


def spellings(labels: Iterable[str]) -> dict[str, str]:
    """Return the first spelling of each label, by its key, in their order."""
    found: dict[str, str] = {}
    for label in labels:
        found.setdefault(label_key(label), label)
    return found
