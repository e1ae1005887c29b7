"""One stage of a pipeline: a thread that processes its items in order.

Invariants: at most two items wait; `put` blocks while the queue is full. An error in the thread is raised unchanged by
the next `put`, or else at the end of the `with` block. If that block ends with another error, waiting items are
dropped. No work continues after the block. The thread belongs to the process and serves later stages of the same name,
because cuDNN plans each shape of a convolution once per thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from threading import Condition
from types import TracebackType
from typing import Generic, TypeVar

from longtake.platform.machine.process import set_up_computing

T = TypeVar("T")
MAX_WAITING = 2
MAX_THREADS = 1024
"""Maximum per name and process: one thread for each take of a batch and its families. A stage without one would wait
forever."""


@cache
def threads(name: str) -> ThreadPoolExecutor:
    """Threads of this name; idle threads are reused."""
    return ThreadPoolExecutor(MAX_THREADS, thread_name_prefix=name)


class Stage(Generic[T]):
    """Calls `work` on one item after another, in a thread called `name`."""

    def __init__(self, name: str, work: Callable[[T], None]):
        self.name, self.work = name, work
        self.waiting: deque[T] = deque()
        self.changed = Condition()
        self.ended = self.stopped = self.busy = False
        self.error: BaseException | None = None

    def __enter__(self) -> Stage[T]:
        try:
            self.running = threads(self.name).submit(self.run)
        except BaseException:  # an interrupt: if the thread is running, it ends by itself
            with self.changed:
                self.ended = True
                self.changed.notify_all()
            raise
        return self

    def put(self, item: T) -> None:
        """Append an item once the queue has space. If the thread has failed, raises its error instead."""
        with self.changed:
            self.changed.wait_for(lambda: self.stopped or len(self.waiting) < MAX_WAITING)
            self.raise_error()
            self.waiting.append(item)
            self.changed.notify_all()

    def flush(self) -> None:
        """Wait until all items so far are done. If the thread has failed, raises its error."""
        with self.changed:
            self.changed.wait_for(lambda: self.stopped or not (self.waiting or self.busy))
            self.raise_error()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until the last item is done or, after an error, until the thread has stopped."""
        try:
            self.end(drop=kind is not None)
        except BaseException:  # an interrupt of the waiting thread
            self.end(drop=True)
            raise
        if kind is None:
            self.raise_error()

    def end(self, drop: bool) -> None:
        with self.changed:
            self.ended = True
            if drop:
                self.waiting.clear()
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.stopped)
        wait([self.running])

    def raise_error(self) -> None:
        if self.error is not None:
            raise self.error

    def run(self) -> None:
        """The thread's loop, until the `with` block has ended and no item waits, or until `work` fails."""
        try:
            set_up_computing()
            while self.has_next():
                self.work(self.next())  # a local variable would keep the item in memory until the next one
        except BaseException as error:
            self.error = error
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    def has_next(self) -> bool:
        """Wait for an item. Returns False if there will be no more."""
        with self.changed:
            self.busy = False
            self.changed.notify_all()
            self.changed.wait_for(lambda: bool(self.waiting) or self.ended)
            return bool(self.waiting)

    def next(self) -> T:
        with self.changed:
            item, self.busy = self.waiting.popleft(), True
            self.changed.notify_all()
        return item
