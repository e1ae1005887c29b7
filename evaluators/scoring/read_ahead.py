"""Reading ahead: a thread computes the next items of an iterator while the consumer works on the current one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

T = TypeVar("T")


def read_ahead(items: Iterator[T], depth: int) -> Iterator[T]:
    """Yield the same items in the same order, reading at most `depth` of them ahead of the consumer.

    An error of `items` is raised at its position, after all items before it. Closing or dropping the iterator waits for
    the item that is being computed, then ends the thread.
    """
    end = object()
    with ThreadPoolExecutor(1, "read-ahead") as pool:
        ahead = deque(pool.submit(next, items, end) for _ in range(depth))
        try:
            while (item := ahead.popleft().result()) is not end:
                ahead.append(pool.submit(next, items, end))
                yield cast(T, item)
        finally:
            for future in ahead:
                future.cancel()
