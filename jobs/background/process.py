"""A process beside a run that answers requests, one at a time, so that the run never waits for the work.

The run sends a request over a pipe and continues. The process ends when the pipe closes, so it does not outlive the
run by more than one request. One that dies is started again by the next request.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Generic, Self, TypeVar

from longtake.platform.workers.signals import STOP_SIGNALS

T = TypeVar("T")
NICENESS = 10
"""Added to the priority value of the process, so that samplers and evaluators go first on a busy machine."""


@dataclass(frozen=True)
class Answer:
    """problem: the reason of a failed request, else ''. result: what a successful one gave, such as an id."""

    problem: str = ""
    result: str = ""


class Background(Generic[T]):
    """The run's side of the pipe, as a context manager. The process runs `prepare(target)` when it starts, and
    `answer(target)` for each request. It starts with the first request, or earlier by `start`."""

    def __init__(self, name: str, answer: Callable[[T], Answer], target: T, prepare: Callable[[T], None] | None = None):
        self.name, self.answer, self.target, self.prepare = name, answer, target, prepare
        self.death = f"the {name} process died"
        self.process: Any = None
        self.pipe: Connection | None = None
        self.busy = False
        self.sent_at = time.monotonic()
        self.took_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> Connection:
        """Start the process unless it runs; returns the pipe to it."""
        if self.pipe is None:
            context = multiprocessing.get_context("spawn")
            self.pipe, theirs = context.Pipe()
            arguments = (theirs, self.answer, self.target, self.prepare)
            self.process = context.Process(target=serve, args=arguments, daemon=True, name=self.name)
            self.process.start()
            theirs.close()
        return self.pipe

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
        if self.process is not None and not self.process.is_alive():
            self.end()
        pipe = self.start()
        with suppress(OSError):
            pipe.send(True)
        self.busy, self.sent_at = True, time.monotonic()

    def collect(self, limit_seconds: float = 0.0) -> Answer:
        """The answer to a request that has ended since, or ends within the limit; an empty one if there is none, and
        then `busy` says whether a request is still running."""
        if self.pipe is None or not self.busy:
            return Answer()
        try:
            if not self.pipe.poll(limit_seconds):
                return Answer()
            answer, self.took_seconds = self.pipe.recv()
        except (EOFError, OSError):
            answer = Answer(self.death)
            self.end()
        self.busy = False
        return answer


def serve(
    pipe: Connection, answer: Callable[[T], Answer], target: T, prepare: Callable[[T], None] | None = None
) -> None:
    """Main loop of the process."""
    for number in STOP_SIGNALS:  # sent to all processes of a terminal or a service; the run decides when to stop
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    if prepare is not None:
        prepare(target)
    with suppress(EOFError, BrokenPipeError):
        while pipe.recv():
            started = time.perf_counter()
            reply = answer(target)
            pipe.send((reply, time.perf_counter() - started))
