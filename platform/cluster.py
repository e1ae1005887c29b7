"""The only importer of Ray: start or join a cluster, run items on a fleet of actors, or a crew in step.

One item in flight per actor; an actor that dies, stalls or cannot be reached is replaced by a new one, and its item
comes back as a failed Outcome. A Ray error does not mean that the work was not done: workers look at the store first,
and whether to try again is the caller's decision. Ray itself never retries anything here.
"""

from __future__ import annotations

import os
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from longtake.platform.crew import CrewSize, Seat, Work, backend_for, end_of, note_end, watched, work_alone
from longtake.platform.errors import Interrupted, LongtakeError
from longtake.platform.fleet import (
    Fleet,
    Group,
    InlineFleet,
    Item,
    ItemQueue,
    Node,
    OnStart,
    Outcome,
    Running,
    StopFlag,
    check_requests,
    describe_nodes,
    handlers_restored,
)

START_LIMIT_SECONDS = 300.0
PEEK_SECONDS = 0.5
OBJECT_STORE_BYTES = 128 * 2**20  # items and results are small; videos go through the store
INLINE, LOCAL = "inline", "local"


class ClusterError(LongtakeError):
    """The cluster cannot be reached, or gives no worker."""

    exit_code = 2


class WorkerDied(LongtakeError):
    """A worker ended without an answer: killed, out of memory, or its node is gone."""


class WorkerStalled(LongtakeError):
    """A worker reported nothing new for too long."""


@dataclass
class Cluster:
    """A place to run workers, and the flag that says that it is time to stop."""

    address: str
    nodes: list[Node]
    stop: StopFlag

    def fleet(self, groups: list[Group], on_start: OnStart, on_report: Callable[[], None] | None = None) -> Fleet:
        """Workers for `groups`; ConfigError if they do not fit. `on_report` is called by inline workers only."""
        if self.address == INLINE:
            return InlineFleet(groups, on_start, self.stop, on_report)
        check_requests(groups, self.nodes)
        return RayFleet(groups, on_start, self.nodes)

    def work_together(self, work: Work, size: CrewSize, scratch: Path, watch: Callable[[], None]) -> None:
        """A crew's work from beginning to end; `watch` is called all the while. `scratch`: a folder that all nodes see.

        Raises ConfigError if the crew does not fit, what a member raised, and WorkerDied when members died too often.
        """
        if self.address == INLINE:
            watched(partial(work_alone, work), watch, self.stop)
            return
        members = Group("count", object, size.workers, 1.0, size.gpus, gpus_key="gpus_per_worker")  # type: ignore[arg-type]
        check_requests([members], self.nodes)
        ends = scratch / f"crew-{uuid.uuid4().hex[:8]}"
        ends.mkdir(parents=True)

        def look() -> None:
            error = end_of(ends)
            if error is not None:
                raise error
            watch()

        watched(partial(_crew_on_ray, work, size, ends), look, self.stop)


@contextmanager
def connect(address: str) -> Iterator[Cluster]:
    """`inline`: this process; `local`: a Ray of our own, ended with the block; else the address of a running cluster.
    A Ray that this process has already joined is used as it is, and left running."""
    stop = StopFlag()
    with handlers_restored():
        if address == INLINE:
            stop.install()
            yield Cluster(INLINE, [Node(float(os.cpu_count() or 1), 0.0)], stop)
            return
        ours = _start_ray(address)
        stop.install()  # over Ray's own handler, which ends in a native trace
        try:
            yield Cluster(address, _nodes(), stop)
        finally:
            if ours:
                _stop_ray()


def _nodes() -> list[Node]:
    import ray

    offers = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(float(offer.get("CPU", 0)), float(offer.get("GPU", 0))) for offer in offers]


def _stop_ray() -> None:
    import ray

    ray.shutdown()


def _start_ray(address: str) -> bool:
    """Join or start Ray; True if this process has to end it. Our own cluster takes a token that nobody else knows."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # a worker that asked for no GPU sees none
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    if address == LOCAL and "RAY_AUTH_MODE" not in os.environ:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    import ray

    if ray.is_initialized():
        return False
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **(own if address == LOCAL else {}))
    except (SystemExit, KeyboardInterrupt) as error:  # what Ray and Python make of a signal
        ray.shutdown()
        raise Interrupted("stopped while Ray was starting; run again to resume") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        doing = "start Ray" if address == LOCAL else f"join the Ray cluster at {address!r}"
        raise ClusterError(
            f"workers.cluster: cannot {doing}: {reason}; "
            "check the address and RAY_AUTH_TOKEN, or use workers.cluster=inline"
        ) from error
    return True


def _crew_on_ray(work: Work, size: CrewSize, ends: Path) -> None:
    """Ray Train starts the members and their process group, and starts all of them again when one is lost."""
    for name in ("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "RAY_CHDIR_TO_TRIAL_DIR"):
        os.environ.setdefault(name, "0")
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    each = {"CPU": 1.0} | ({"GPU": size.gpus} if size.gpus else {})
    trainer = TorchTrainer(
        _take_seat,
        train_loop_config={"work": work, "ends": ends},
        torch_config=TorchConfig(backend=backend_for("cuda" if size.gpus else "cpu")),
        scaling_config=ScalingConfig(num_workers=size.workers, use_gpu=size.gpus > 0, resources_per_worker=each),
        run_config=RunConfig(
            name=ends.name,
            storage_path=str(ends),
            failure_config=FailureConfig(max_failures=size.restarts),
            # Ray Train computes in a thread, whose own arena would give freed memory back after every step
            worker_runtime_env={"env_vars": {"MALLOC_ARENA_MAX": "1"}},
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        reason = " ".join(str(error).split())[:400]
        raise end_of(ends) or WorkerDied(f"workers: ended {size.restarts + 1} times: {reason}") from error


def _take_seat(config: dict[str, Any]) -> None:
    """What Ray Train runs in each member. An error of ours is final: it is noted where the driver looks for it."""
    from ray.train import get_context

    context, ends = get_context(), config["ends"]
    error = end_of(ends)
    if error is not None:
        raise error
    try:
        config["work"](Seat(context.get_world_rank(), context.get_world_size()))
    except LongtakeError as found:
        note_end(ends, found)
        raise


def _environment(group: Group) -> dict[str, Any]:
    """Ray's option for workers that have a Python or an image of their own."""
    told = {"py_executable": group.python, "image_uri": group.image}
    chosen = {key: value for key, value in told.items() if value}
    return {"runtime_env": chosen} if chosen else {}


class Shell:
    """The actor around a plain worker: runs one item, and says meanwhile how far it is."""

    def __init__(self, make: Callable[[], Any]):
        self.worker = make()
        self.latest: tuple[int, dict[str, Any]] = (0, {})

    def ready(self) -> int:
        return os.getpid()

    def run(self, payload: Any) -> Any:
        return self.worker.run(payload, self._report)

    def peek(self) -> tuple[int, dict[str, Any]]:
        return self.latest

    def _report(self, report: dict[str, Any]) -> None:
        self.latest = (self.latest[0] + 1, report)


@dataclass
class Slot:
    """One worker's place in a group. Starting (`ready_ref`), idle, or busy (`run_ref` and `now`)."""

    group: Group
    name: str
    actor: Any
    ready_ref: Any
    started: float = field(default_factory=time.monotonic)
    pid: int = 0
    affinity: str = ""
    run_ref: Any = None
    now: Running | None = None
    peek_ref: Any = None
    peek_due: float = 0.0
    seen_reports: int = 0
    moved: float = 0.0


class RayFleet:
    """A driver loop over actors. Slots are filled when there is work for them, never before."""

    def __init__(self, groups: list[Group], on_start: OnStart, nodes: list[Node]):
        self.groups = {group.name: group for group in groups}
        self.queues = {group.name: ItemQueue() for group in groups}
        self.slots: list[Slot] = []
        self.failed_starts = {group.name: 0 for group in groups}
        self.on_start, self.nodes = on_start, nodes
        self.made = 0

    def submit(self, group: str, item: Item) -> None:
        self.queues[group].push(item)

    def clear(self) -> None:
        self.queues = {name: ItemQueue() for name in self.groups}

    def close(self) -> None:
        for slot in list(self.slots):
            self._drop(slot)

    def running(self) -> list[Running]:
        return [slot.now for slot in self.slots if slot.now]

    def pids(self, group: str) -> list[int]:
        """Process ids of the group's workers that have started."""
        return [slot.pid for slot in self.slots if slot.group.name == group and slot.pid]

    def poll(self, timeout_seconds: float) -> list[Outcome]:
        self._fill()
        ready = self._wait(min(timeout_seconds, 1.0))
        self._welcome(ready)
        self._hand_out()
        outcomes = [self._collect(slot) for slot in list(self.slots) if slot.run_ref in ready]
        self._peek()
        return outcomes + self._replace_stalled()

    def _wait(self, timeout_seconds: float) -> set[Any]:
        import ray

        refs = [ref for slot in self.slots for ref in (slot.ready_ref, slot.run_ref) if ref is not None]
        if not refs:
            return set()
        ready, rest = ray.wait(refs, num_returns=1, timeout=timeout_seconds)
        if rest:
            more, _ = ray.wait(rest, num_returns=len(rest), timeout=0)
            ready = ready + more
        return set(ready)

    def _fill(self) -> None:
        """Start workers for waiting items that no idle or starting worker will take."""
        for name, group in self.groups.items():
            slots = [slot for slot in self.slots if slot.group.name == name]
            free = sum(slot.run_ref is None for slot in slots)
            for _ in range(min(group.count - len(slots), len(self.queues[name]) - free)):
                self.slots.append(self._start(group))

    def _start(self, group: Group) -> Slot:
        import ray

        actor_class = ray.remote(
            num_cpus=group.num_cpus,
            num_gpus=group.num_gpus,
            max_restarts=0,
            max_task_retries=0,
            concurrency_groups={"peek": 1},
            **_environment(group),
        )(Shell)
        actor = actor_class.remote(group.make)
        self.made += 1
        return Slot(group, f"{group.name}-{self.made}", actor, actor.ready.remote())

    def _welcome(self, ready: set[Any]) -> None:
        """Starting workers become idle, or fail; too many failures in a row, or none ready for long, end the run."""
        import ray

        for slot in [slot for slot in self.slots if slot.ready_ref is not None]:
            if slot.ready_ref in ready:
                try:
                    slot.pid = ray.get(slot.ready_ref)
                    slot.ready_ref = None
                    self.failed_starts[slot.group.name] = 0
                except ray.exceptions.RayError as error:
                    self._failed_start(slot, error)
            elif time.monotonic() - slot.started > START_LIMIT_SECONDS and not self.pids(slot.group.name):
                group = slot.group
                raise ClusterError(
                    f"workers.{group.name}: no worker with {group.num_cpus:g} CPU and {group.num_gpus:g} GPU started "
                    f"within {START_LIMIT_SECONDS:g} s on {describe_nodes(self.nodes)}; is the cluster busy?"
                )

    def _failed_start(self, slot: Slot, error: Exception) -> None:
        self._drop(slot)
        self.failed_starts[slot.group.name] += 1
        if self.failed_starts[slot.group.name] >= 3:
            reason = " ".join(str(error).split())[-300:]
            raise ClusterError(f"workers.{slot.group.name}: failed to start 3 times in a row: {reason}") from error

    def _hand_out(self) -> None:
        for slot in self.slots:
            queue = self.queues[slot.group.name]
            if slot.ready_ref is None and slot.run_ref is None and queue:
                item = queue.pop(slot.affinity)
                self.on_start(slot.group.name, item)
                slot.affinity = item.affinity
                slot.run_ref = slot.actor.run.remote(item.payload)
                slot.now = Running(slot.group.name, slot.name, item)
                slot.moved = time.monotonic()

    def _collect(self, slot: Slot) -> Outcome:
        """The end of one item. An actor that is dead or out of reach is replaced; its late commit does no harm."""
        import ray

        assert slot.now is not None
        item, ref = slot.now.item, slot.run_ref
        slot.run_ref = slot.now = slot.peek_ref = None
        try:
            return Outcome(slot.group.name, item, value=ray.get(ref))
        except ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(getattr(error, "cause", None), Exception) else error
            if not isinstance(cause, LongtakeError):
                self._drop(slot)  # after an error that nobody foresaw (of a GPU, say) a process may be good for nothing
            return Outcome(slot.group.name, item, error=cause)
        except ray.exceptions.RayError as error:
            self._drop(slot)
            reason = f"{slot.name} (process {slot.pid}) died: {' '.join(str(error).split())[:200]}"
            return Outcome(slot.group.name, item, error=WorkerDied(reason), died=True)

    def _peek(self) -> None:
        """Ask busy workers how far they are, at most twice a second each; never wait for the answer."""
        import ray

        for slot in [slot for slot in self.slots if slot.now is not None]:
            if slot.peek_ref is None and time.monotonic() >= slot.peek_due:
                slot.peek_ref = slot.actor.peek.options(concurrency_group="peek").remote()
                slot.peek_due = time.monotonic() + PEEK_SECONDS
            elif slot.peek_ref is not None and ray.wait([slot.peek_ref], timeout=0)[0]:
                ref, slot.peek_ref = slot.peek_ref, None
                try:
                    count, report = ray.get(ref)
                except ray.exceptions.RayError:
                    continue  # the run's own reference tells what happened
                if count != slot.seen_reports and slot.now is not None:
                    slot.seen_reports, slot.now.report, slot.moved = count, report, time.monotonic()

    def _replace_stalled(self) -> list[Outcome]:
        outcomes = []
        for slot in [slot for slot in self.slots if slot.now is not None]:
            quiet = time.monotonic() - slot.moved
            if slot.now is not None and quiet > slot.group.stall_seconds:
                error = WorkerStalled(f"{slot.name} (process {slot.pid}) reported nothing for {quiet:.0f} s")
                outcomes.append(Outcome(slot.group.name, slot.now.item, error=error, died=True))
                self._drop(slot)
        return outcomes

    def _drop(self, slot: Slot) -> None:
        import ray

        ray.kill(slot.actor, no_restart=True)
        self.slots.remove(slot)
