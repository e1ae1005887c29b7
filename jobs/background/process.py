"""A process beside a run that answers requests, one at a time, so that the run never waits for the work.

The run sends a request over a pipe and continues. The process ends when the pipe closes, so it does not outlive the
run by more than one request.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Generic, Self, TypeVar

from longtake.platform.workers.signals import STOP_SIGNALS

T = TypeVar("T")
NICENESS = 10
"""Added to the priority value of the process, so that samplers and evaluators go first on a busy machine."""


class Background(Generic[T]):
    """The run's side of the pipe, as a context manager. `answer(target)` runs in the process, for each request; it
    returns '' on success, else the reason. The process starts with the first request."""

    def __init__(self, name: str, answer: Callable[[T], str], target: T):
        self.name, self.answer, self.target = name, answer, target
        self.process: Any = None
        self.pipe: Connection | None = None
        self.busy = False
        self.sent_at = time.monotonic()
        self.took_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End the process, also in the middle of a request."""
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None
            self.process.kill()
            self.process.join()

    def is_due(self, every_seconds: float, share: float) -> bool:
        """Whether no request is running, the last one was sent `every_seconds` ago, and requests take at most `share`
        of the time."""
        waited = time.monotonic() - self.sent_at
        return not self.busy and waited > max(every_seconds, self.took_seconds / share)

    def send(self) -> None:
        if self.pipe is None:
            context = multiprocessing.get_context("spawn")
            self.pipe, theirs = context.Pipe()
            arguments = (theirs, self.answer, self.target)
            self.process = context.Process(target=serve, args=arguments, daemon=True, name=self.name)
            self.process.start()
            theirs.close()
        with suppress(OSError):
            self.pipe.send(True)
        self.busy, self.sent_at = True, time.monotonic()

    def collect(self) -> str:
        """The reason of a failed request, if one has ended since; never waits."""
        if self.pipe is None or not self.busy:
            return ""
        try:
            if not self.pipe.poll(0):
                return ""
            reason, self.took_seconds = self.pipe.recv()
        except (EOFError, OSError):
            reason = f"the {self.name} process died"
            self.end()
        self.busy = False
        return str(reason)


def serve(pipe: Connection, answer: Callable[[T], str], target: T) -> None:
    """Main loop of the process."""
    for number in STOP_SIGNALS:  # sent to all processes of a terminal or a service; the run decides when to stop
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    with suppress(EOFError, BrokenPipeError):
        while pipe.recv():
            started = time.perf_counter()
            reason = answer(target)
            pipe.send((reason, time.perf_counter() - started))
