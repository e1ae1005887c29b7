"""A fleet of Ray actors, one item in flight per actor.

An actor that dies, stalls or cannot be reached is replaced, and its item comes back as a failed Outcome. A Ray error
does not mean that the work was not done: workers look at the store first, and the caller decides whether to try again.
Ray itself never retries anything here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from longtake.platform.errors import LongtakeError
from longtake.platform.workers.fleet import (
    Group,
    Item,
    ItemQueue,
    Node,
    OnStart,
    Outcome,
    Running,
    describe_nodes,
)

START_LIMIT_SECONDS = 300.0
PEEK_SECONDS = 0.5


class ClusterError(LongtakeError):
    """The cluster cannot be reached, or gives no worker."""

    exit_code = 2


class WorkerDied(LongtakeError):
    """A worker ended without an answer: killed, out of memory, or its node is gone."""


class WorkerStalled(LongtakeError):
    """A worker reported nothing new for too long."""


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
                    f"{group.where}: no worker with {group.num_cpus:g} CPU and {group.num_gpus:g} GPU started "
                    f"within {START_LIMIT_SECONDS:g} s on {describe_nodes(self.nodes)}; is the cluster busy?"
                )

    def _failed_start(self, slot: Slot, error: Exception) -> None:
        self._drop(slot)
        self.failed_starts[slot.group.name] += 1
        if self.failed_starts[slot.group.name] >= 3:
            reason = " ".join(str(error).split())[-300:]
            raise ClusterError(f"{slot.group.where}: failed to start 3 times in a row: {reason}") from error

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
