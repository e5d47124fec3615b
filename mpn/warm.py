"""What stays in memory because it will be asked for again."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Warm(Generic[T]):
    """The last things computed, up to a size; those asked for longest ago go first."""

    def __init__(self, limit_gib: float, n_bytes: Callable[[T], int]) -> None:
        """Start empty.

        Args:
            limit_gib: Size of everything together, in GiB; the last one stays, whatever its size.
            n_bytes: Size of one thing.
        """
        self._limit = int(limit_gib * 2**30)
        self._n_bytes = n_bytes
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return what is kept under ``key``, computed if it is not."""
        if key not in self._kept:
            self._kept[key] = compute()
            total = sum(map(self._n_bytes, self._kept.values()))
            while total > self._limit and len(self._kept) > 1:
                total -= self._n_bytes(self._kept.popitem(last=False)[1])
        self._kept.move_to_end(key)
        return self._kept[key]
