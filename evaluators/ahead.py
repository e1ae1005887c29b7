"""An iterator whose next items are made in a thread while its consumer works on the current one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

T = TypeVar("T")


def read_ahead(items: Iterator[T], depth: int) -> Iterator[T]:
    """The same items in the same order, at most `depth` of them ahead of the consumer.

    An error of `items` is raised in its place, behind all items before it. Closing the iterator, or dropping it, waits
    for the item that is being made and ends the thread.
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
