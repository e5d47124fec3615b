"""Blocks that wait to be launched, and which of them a free replica should get."""

import heapq
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

T = TypeVar("T")
Place = tuple[int, int]


class ReadyQueue(Generic[T]):
    """Items in the order of their places, told apart by what replicas keep warm for them."""

    def __init__(self) -> None:
        self._heaps: dict[str, list[tuple[Place, T]]] = {}

    def push(self, affinity: str, place: Place, item: T) -> None:
        """Add an item; no two have one place."""
        heapq.heappush(self._heaps.setdefault(affinity, []), (place, item))

    def pop(
        self,
        free: Collection[str],
        busy: Callable[[], Collection[str]],
        is_stale: Callable[[T], bool],
    ) -> T | None:
        """Take the item that some free replica should get.

        That is the first that one of them is warm for; or else the first that no busy replica is
        warm for, so that replicas share models out among them; or else the first of all.

        Args:
            free: What free replicas keep warm.
            busy: Tells what the others do; asked only if it matters.
            is_stale: Whether an item is not wanted any more.

        Returns:
            The item; None if there is none.
        """
        for affinity, heap in list(self._heaps.items()):
            while heap and is_stale(heap[0][1]):
                heapq.heappop(heap)
            if not heap:
                del self._heaps[affinity]
        if not self._heaps:
            return None
        choice = [affinity for affinity in self._heaps if affinity in free]
        if not choice and len(self._heaps) > 1:
            held = busy()
            choice = [affinity for affinity in self._heaps if affinity not in held]
        chosen = min(choice or self._heaps, key=lambda affinity: self._heaps[affinity][0][0])
        return heapq.heappop(self._heaps[chosen])[1]
