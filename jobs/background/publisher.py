"""The publisher process: publishes results during the run, so that samplers never wait for the tracking store.

The run sends a request over a pipe and continues; the process reads the store and writes to MLflow. The next run of the
sweep publishes whatever is missing there. The process ends when the pipe closes.
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
from longtake.platform.tracking.addresses import SERVERS, without_password, without_secrets

FINAL_LIMIT_SECONDS = 300.0
EVERY_SECONDS = 600.0
MLFLOW_UI = "http://127.0.0.1:5000"
"""Where `mlflow ui` serves by default."""
VIEW = "workflowType=machine_learning"
"""MLflow otherwise opens in its view of calls of language models, with pages of traces, of which there are none."""


@dataclass(frozen=True)
class Target:
    """The results to publish and their destination. Unpickling it in the publisher installs the plug-ins first."""

    plugins: Plugins
    store: SweepStore
    suites: list[SuiteEntry]
    uri: str
    experiment: str


def serve(pipe: Connection, target: Target) -> None:
    """Main loop of the process: opens the tracking store (slow if it is new), then publishes at each request."""
    from longtake.platform.tracking.client import warm_up

    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to all; the run decides when to stop
        signal.signal(number, signal.SIG_IGN)
    warm_up(target.uri)
    with suppress(EOFError, BrokenPipeError):
        while pipe.recv():
            pipe.send(publish_once(target))


@dataclass(frozen=True)
class Answer:
    """The reason why a publication failed, or '' and the id of the experiment in MLflow."""

    problem: str = ""
    experiment_id: str = ""


def publish_once(target: Target) -> Answer:
    from longtake.jobs.background.publication import build
    from longtake.platform.tracking.publish import publish

    try:
        takes = target.store.plan()
        published = publish(build(target.store, takes, target.suites, target.experiment), target.uri)
        return Answer(experiment_id=published.experiment)
    except LongtakeError as error:
        return Answer(str(error))
    except Exception as error:  # always reply, also after an unexpected error
        return Answer(f"tracking: {type(error).__name__}: {without_secrets(str(error), target.uri)[:300]}")


class Publisher:
    """The run's side of the pipe, as a context manager. Without a target it does nothing."""

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

    def publish_if_due(self) -> None:
        """Publish every EVERY_SECONDS. Called from the run loop; never waits."""
        self._collect(0)
        if self.pipe is not None and not self.busy and time.monotonic() - self.sent_at > EVERY_SECONDS:
            self._send()

    def finish(self, limit_seconds: float = FINAL_LIMIT_SECONDS) -> Answer:
        """Publish the final state and wait."""
        if self.pipe is None:
            return Answer()
        if self.busy:
            self._collect(limit_seconds)
        self._send()
        answer = self._collect(limit_seconds)
        return (
            Answer(f"tracking: no answer within {limit_seconds:.0f} s; run again to publish") if self.busy else answer
        )

    def _send(self) -> None:
        with suppress(OSError):
            assert self.pipe is not None
            self.pipe.send(True)
        self.busy, self.sent_at = True, time.monotonic()

    def _collect(self, limit_seconds: float) -> Answer:
        if self.pipe is None or not self.busy:
            return Answer()
        try:
            if self.pipe.poll(limit_seconds):
                self.busy = False
                answer: Answer = self.pipe.recv()
                return answer
        except (EOFError, OSError):
            self.busy = False
            return Answer("tracking: the publisher process died; run again to publish")
        return Answer()


def how_to_open(tracking_uri: str, experiment_id: str = "") -> str:
    """The address of the runs in MLflow, after the command that serves it unless a server does.

    Without an experiment, MLflow opens on its list of them.
    """
    uri = without_password(tracking_uri) or tracking_uri
    page = f"/#/experiments/{experiment_id}/runs?{VIEW}" if experiment_id else ""
    if uri.partition("://")[0] in SERVERS:
        return f"{uri.rstrip('/')}{page}"
    served = f"mlflow ui --backend-store-uri {shlex.quote(uri)}"
    return f"{served}, then open {MLFLOW_UI}{page}" if page else served
