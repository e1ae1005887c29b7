"""Starts or joins a Ray cluster and runs fleets and worker groups on it. Only this file and ray_fleet.py import Ray."""

from __future__ import annotations

import os
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from longtake.platform.errors import ClusterUnavailable, ConfigError, Interrupted, LongtakeError, brief
from longtake.platform.workers.fleet import (
    Fleet,
    Group,
    Node,
    OnStart,
    check_requests,
)
from longtake.platform.workers.group import (
    GroupSize,
    RankContext,
    Work,
    backend_for,
    record_error,
    recorded_error,
    run_single_rank,
    run_watched,
)
from longtake.platform.workers.inline import InlineFleet
from longtake.platform.workers.ray_fleet import ClusterError, RayFleet, WorkerDied
from longtake.platform.workers.ray_folder import short_folder
from longtake.platform.workers.ray_health import ClusterHealth, check_reachable, watch
from longtake.platform.workers.signals import StopFlag, handlers_restored, hangup_kept_from_children

OBJECT_STORE_BYTES = 128 * 2**20  # items and results are small; videos are in the store
INLINE, LOCAL = "inline", "local"
JOIN_SECONDS = 60.0


@dataclass
class Cluster:
    """The nodes that run workers, the flag that a signal sets, and the watch over the cluster (None: inline)."""

    address: str
    nodes: list[Node]
    stop: StopFlag
    health: ClusterHealth | None = None

    def fleet(
        self,
        groups: list[Group],
        on_start: OnStart = lambda group, item: None,
        on_report: Callable[[], None] | None = None,
    ) -> Fleet:
        """A fleet of `groups`. Raises ConfigError if they do not fit. Only inline workers call `on_report`."""
        if self.address == INLINE:
            return InlineFleet(groups, on_start, self.stop, on_report)
        self.wait_until_fit(groups)
        return RayFleet(groups, on_start, self.nodes, self.health)

    def wait_until_fit(self, groups: list[Group]) -> None:
        """Waits up to JOIN_SECONDS for nodes of a running cluster, which join one after the other when it restarts.
        Raises ConfigError if `groups` do not fit even then."""
        deadline = time.monotonic() + JOIN_SECONDS
        while True:
            try:
                check_requests(groups, self.nodes)
                return
            except ConfigError:
                if self.health is None or self.address == LOCAL or self.stop.is_set or time.monotonic() > deadline:
                    raise
            time.sleep(0.25)
            self.health.check()
            self.nodes = [*self.health.nodes.values()]

    def run_group(self, work: Work, size: GroupSize, scratch: Path, watch: Callable[[], None]) -> None:
        """Runs a group to its end and calls `watch` meanwhile. `scratch`: a folder that all nodes share.

        Raises ConfigError if the group does not fit, the error of a member, WorkerDied if members die too often, or
        ClusterUnavailable if the cluster is lost.
        """
        if self.address == INLINE:
            run_watched(partial(run_single_rank, work), watch, self.stop)
            return
        members = Group("members", object, size.workers, 1.0, size.gpus, settings=size.settings)  # type: ignore[arg-type]
        self.wait_until_fit([members])
        errors = scratch / f"group-{uuid.uuid4().hex[:8]}"
        errors.mkdir(parents=True)

        def look() -> None:
            error = recorded_error(errors)
            if error is not None:
                raise error
            if self.health is not None:
                self.health.check()
            watch()

        run_watched(partial(_run_group_on_ray, work, size, errors), look, self.stop)


@contextmanager
def connect(address: str) -> Iterator[Cluster]:
    """Connects to `inline`, this process; `local`, a new Ray cluster that ends with the block; or a running cluster.
    If this process has already joined a Ray cluster, uses it and leaves it running.

    Raises ClusterUnavailable if the cluster cannot be reached, ClusterError if it cannot be used."""
    stop = StopFlag()
    with handlers_restored():
        if address == INLINE:
            stop.install()
            yield Cluster(INLINE, [Node(float(os.cpu_count() or 1), 0.0)], stop)
            return
        check_reachable(address)  # before Ray is loaded
        ours = _start_ray(address)
        stop.install()  # replaces Ray's handler, which prints a native stack trace
        health = watch(address)
        try:
            yield Cluster(address, [*health.nodes.values()], stop, health)
        finally:
            with health.ending():
                if ours:
                    _stop_ray()


def _stop_ray() -> None:
    import ray

    ray.shutdown()


def _start_ray(address: str) -> bool:
    """Joins or starts Ray; returns True if this process must stop it. A new cluster gets a random secret token."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # a worker that requests no GPU sees none
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    if address == LOCAL and "RAY_AUTH_MODE" not in os.environ:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    import ray

    if ray.is_initialized():
        return False
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    if address == LOCAL and (folder := short_folder()):
        own["_temp_dir"] = folder
    try:
        with hangup_kept_from_children():
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **(own if address == LOCAL else {}))
    except (SystemExit, KeyboardInterrupt) as error:  # raised by Ray and Python after a signal
        ray.shutdown()
        raise Interrupted("stopped while Ray was starting; run again to resume") from error
    except Exception as error:
        reason = brief(error)
        if isinstance(error, ConnectionError) and address == "auto":  # at HOST:PORT something answers
            raise ClusterUnavailable(f"workers.cluster: {reason}; start Ray on this machine and run again") from error
        doing = "start Ray" if address == LOCAL else f"join the Ray cluster at {address!r}"
        raise ClusterError(
            f"workers.cluster: cannot {doing}: {reason}; "
            "check the address and RAY_AUTH_TOKEN, or use workers.cluster=inline"
        ) from error
    return True


def _run_group_on_ray(work: Work, size: GroupSize, errors: Path) -> None:
    """Ray Train starts the members and their process group, and restarts all of them if one is lost."""
    for name in ("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "RAY_CHDIR_TO_TRIAL_DIR"):
        os.environ.setdefault(name, "0")
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    each = {"CPU": 1.0} | ({"GPU": size.gpus} if size.gpus else {})
    trainer = TorchTrainer(
        _run_rank,
        train_loop_config={"work": work, "errors": errors},
        torch_config=TorchConfig(backend=backend_for("cuda" if size.gpus else "cpu")),
        scaling_config=ScalingConfig(num_workers=size.workers, use_gpu=size.gpus > 0, resources_per_worker=each),
        run_config=RunConfig(
            name=errors.name,
            storage_path=str(errors),
            failure_config=FailureConfig(max_failures=size.restarts),
            # Ray Train computes in a thread, whose malloc arena would return freed memory after every step
            worker_runtime_env={"env_vars": {"MALLOC_ARENA_MAX": "1"}},
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        reason = brief(error, 400)
        raise recorded_error(errors) or WorkerDied(f"workers: failed {size.restarts + 1} times: {reason}") from error


def _run_rank(config: dict[str, Any]) -> None:
    """Runs in each member under Ray Train. A LongtakeError is final: it is recorded where the driver looks for it."""
    from ray.train import get_context

    context, errors = get_context(), config["errors"]
    error = recorded_error(errors)
    if error is not None:
        raise error
    try:
        config["work"](RankContext(context.get_world_rank(), context.get_world_size()))
    except LongtakeError as raised:
        record_error(errors, raised)
        raise
