"""The logger process: publishes a sweep's results beside the run, so that no sampler ever waits on the tracking store.

The run sends 'publish' over a pipe and goes on; the process reads the store and writes to MLflow. The store is the
spool: whatever did not get through is published by the next run of the same sweep. It ends with the pipe.
"""

from __future__ import annotations

import multiprocessing
import shlex
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from longtake.evaluators.base import SuiteEntry
from longtake.platform.errors import LongtakeError
from longtake.platform.plugins import Plugins
from longtake.platform.store.sweep import SweepStore
from longtake.platform.tracking.client import without_password

FINAL_LIMIT_SECONDS = 300.0
EVERY_SECONDS = 600.0


@dataclass(frozen=True)
class Target:
    """What is published where. It is sent to another process, where unpickling it installs the plug-ins first."""

    plugins: Plugins
    store: SweepStore
    suites: list[SuiteEntry]
    uri: str
    experiment: str


def serve(pipe: Connection, target: Target) -> None:
    """The process: opens the tracking store at once (slow when it is new), then publishes whenever it is told to."""
    from longtake.platform.tracking.client import warm_up

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run decides when to stop
    warm_up(target.uri)
    with suppress(EOFError, BrokenPipeError):
        while pipe.recv():
            pipe.send(publish_once(target))


def publish_once(target: Target) -> str:
    """'' when it went well, else the reason."""
    from longtake.jobs.results.publication import build
    from longtake.platform.tracking.publish import publish

    try:
        takes = target.store.plan()
        publish(build(target.store, takes, target.suites, target.experiment), target.uri)
    except LongtakeError as error:
        return str(error)
    except Exception as error:  # a reply must come, whatever went wrong
        return f"tracking: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return ""


class Publisher:
    """The run's end of the pipe. A context manager; without a target it does nothing."""

    def __init__(self, target: Target | None):
        self.target = target
        self.process: Any = None
        self.pipe: Connection | None = None
        self.busy = False
        self.sent_at = time.monotonic()

    def __enter__(self) -> Publisher:
        if self.target is not None:
            context = multiprocessing.get_context("spawn")
            self.pipe, theirs = context.Pipe()
            self.process = context.Process(target=serve, args=(theirs, self.target), daemon=True, name="publisher")
            self.process.start()
            theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        if self.pipe is not None:
            self.pipe.close()
            self.process.join(timeout=2)
            if self.process.is_alive():
                self.process.terminate()

    def now_and_then(self) -> None:
        """Called from the run's loop: publish in between on long runs; never waits."""
        self._collect(0)
        if self.pipe is not None and not self.busy and time.monotonic() - self.sent_at > EVERY_SECONDS:
            self._send()

    def finish(self, limit_seconds: float = FINAL_LIMIT_SECONDS) -> str:
        """Publish the final state and wait for it; '' or the reason why it did not get through."""
        if self.pipe is None:
            return ""
        if self.busy:
            self._collect(limit_seconds)
        self._send()
        reason = self._collect(limit_seconds)
        return f"tracking: no answer within {limit_seconds:.0f} s; run again to publish" if self.busy else reason

    def _send(self) -> None:
        with suppress(OSError):
            assert self.pipe is not None
            self.pipe.send(True)
        self.busy, self.sent_at = True, time.monotonic()

    def _collect(self, limit_seconds: float) -> str:
        if self.pipe is None or not self.busy:
            return ""
        try:
            if self.pipe.poll(limit_seconds):
                self.busy = False
                return str(self.pipe.recv())
        except (EOFError, OSError):
            self.busy = False
            return "tracking: the logger process died; run again to publish"
        return ""


def ui_command_of(told: str) -> str:
    """The command that opens MLflow's UI on a tracking store, or its address."""
    uri = without_password(told) or told
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)}" if uri.startswith("sqlite:") else uri
