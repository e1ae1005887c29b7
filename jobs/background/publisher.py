"""The publisher process: publishes results during the run, so that samplers never wait for the tracking store.

It reads the store and writes to MLflow. The next run of the sweep publishes whatever is missing there. A process that
outlives its run stops writing when a newer run, or a rename, holds the sweep.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Self

from longtake.evaluators.base import SuiteEntry
from longtake.jobs.background.process import Answer, Background
from longtake.platform.errors import LongtakeError
from longtake.platform.plugins import Plugins
from longtake.platform.store.sweep import SweepStore
from longtake.platform.tracking.addresses import OFF, SERVERS, without_password, without_secrets

FINAL_LIMIT_SECONDS = 300.0
EVERY_SECONDS = 600.0
SHARE = 0.05
"""Publications during a run take at most this share of the time: each reads the records of all takes."""
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


def warm_up(target: Target) -> None:
    """Opens the tracking store, which is slow if it is new."""
    from longtake.platform.tracking import client

    client.warm_up(target.uri)


def publish_once(target: Target) -> Answer:
    """Publishes the current state; the result is the id of the experiment in MLflow."""
    from longtake.jobs.background.publication import build
    from longtake.platform.tracking.publish import publish

    store = target.store
    try:
        publication = build(store, store.plan(), target.suites, target.experiment)
        return Answer(result=publish(publication, target.uri, store.check_epoch).experiment)
    except LongtakeError as error:
        return Answer(str(error))
    except Exception as error:  # always reply, also after an unexpected error
        return Answer(f"tracking: {type(error).__name__}: {without_secrets(str(error), target.uri)[:300]}")


class Publisher(Background[Target]):
    """Keeps MLflow current during a run; does nothing if tracking is off."""

    def __init__(self, target: Target):
        super().__init__("publisher", publish_once, target, warm_up)
        self.is_off = target.uri == OFF
        self.said = ""
        self.death = "tracking: the publisher process died; run again to publish"

    def __enter__(self) -> Self:
        if not self.is_off:
            self.start()
        return self

    def publish_if_due(self) -> str:
        """Request a publication every EVERY_SECONDS, or less often if it takes long; never waits. Returns the reason of
        a failed one, unless it is the one returned last."""
        reason = self.collect().problem
        if not self.is_off and self.is_due(EVERY_SECONDS, SHARE):
            self.send()
        if reason == self.said:
            return ""
        self.said = reason or self.said
        return reason

    def finish(self, limit_seconds: float = FINAL_LIMIT_SECONDS) -> Answer:
        """Publish the final state and wait, each request for at most `limit_seconds`."""
        if self.is_off:
            return Answer()
        self.collect(limit_seconds)
        if not self.busy:
            self.send()
            answer = self.collect(limit_seconds)
            if not self.busy:
                return answer
        return Answer(f"tracking: no answer within {limit_seconds:.0f} s; run again to publish")


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
