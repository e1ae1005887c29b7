"""A fleet of Ray actors, one item in flight per actor.

An actor that dies, stalls or cannot be reached is replaced, and its item returns as a failed Outcome. The work may be
done despite a Ray error: workers check the store first, and the caller decides whether to retry. Ray never does.
"""

from __future__ import annotations

import time
from typing import Any

from longtake.platform.errors import ClusterUnavailable, LongtakeError
from longtake.platform.workers.deaths import LOST_NODE, cause_of
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
from longtake.platform.workers.ray_health import ClusterHealth
from longtake.platform.workers.ray_worker import Shell, Slot

START_LIMIT_SECONDS = 300.0
PEEK_SECONDS = 0.5


class ClusterError(LongtakeError):
    """The cluster cannot be joined as configured, or starts no worker."""

    exit_code = 2


class WorkerDied(LongtakeError):
    """A worker ended without a result: it was killed, ran out of memory, or lost its node."""


class WorkerStalled(LongtakeError):
    """A worker reported nothing new for too long."""


def _environment(group: Group) -> dict[str, Any]:
    """Ray's option for workers with a separate Python or container image."""
    options = {"py_executable": group.python, "image_uri": group.image}
    chosen = {key: value for key, value in options.items() if value}
    return {"runtime_env": chosen} if chosen else {}


class RayFleet:
    """A driver loop over actors. Starts a worker only when there is an item for it."""

    def __init__(self, groups: list[Group], on_start: OnStart, nodes: list[Node], health: ClusterHealth | None = None):
        self.groups = {group.name: group for group in groups}
        self.queues = {group.name: ItemQueue() for group in groups}
        self.slots: list[Slot] = []
        self.failed_starts = {group.name: 0 for group in groups}
        self.on_start, self.nodes, self.health = on_start, nodes, health
        self.num_started = 0

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
        """Process ids of the group's started workers."""
        return [slot.pid for slot in self.slots if slot.group.name == group and slot.pid]

    def poll(self, timeout_seconds: float) -> list[Outcome]:
        """As of a Fleet. Raises ClusterUnavailable if the cluster is lost or has no place for a worker."""
        if self.health is not None:
            self.health.check(self.groups.values())
        self._fill()
        ready = self._wait(min(timeout_seconds, 1.0))
        self._check_starts(ready)
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
        """Starts workers for waiting items beyond those that idle and starting workers will take."""
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
        self.num_started += 1
        return Slot(group, f"{group.name}-{self.num_started}", actor, actor.ready.remote())

    def _check_starts(self, ready: set[Any]) -> None:
        """Marks started workers as idle. Raises ClusterError after 3 failed starts in a row, and ClusterUnavailable if
        none starts within START_LIMIT_SECONDS."""
        import ray

        for slot in [slot for slot in self.slots if slot.ready_ref is not None]:
            if slot.ready_ref in ready:
                try:
                    slot.pid, slot.output = ray.get(slot.ready_ref)
                    slot.ready_ref = None
                    self.failed_starts[slot.group.name] = 0
                except ray.exceptions.RayError as error:
                    self._failed_start(slot, error)
            elif time.monotonic() - slot.started > START_LIMIT_SECONDS and not self.pids(slot.group.name):
                group = slot.group
                raise ClusterUnavailable(
                    f"{group.where}: no worker with {group.num_cpus:g} CPU and {group.num_gpus:g} GPU started "
                    f"within {START_LIMIT_SECONDS:g} s on {describe_nodes(self.nodes)}; "
                    "the cluster is busy: run again later"
                )

    def _failed_start(self, slot: Slot, error: Exception) -> None:
        self._drop(slot)
        cause = cause_of(error, slot.output)
        if cause.startswith(LOST_NODE):
            return  # `health` tells whether any node is left
        self.failed_starts[slot.group.name] += 1
        if self.failed_starts[slot.group.name] >= 3:
            reason = cause[-300:]
            raise ClusterError(f"{slot.group.where}: a worker failed to start 3 times in a row: {reason}") from error

    def _hand_out(self) -> None:
        for slot in self.slots:
            queue = self.queues[slot.group.name]
            if slot.ready_ref is None and slot.run_ref is None and queue:
                item = queue.pop(slot.affinity)
                self.on_start(slot.group.name, item)
                slot.hand(item)

    def _collect(self, slot: Slot) -> Outcome:
        """The outcome of one item. Drops an actor that died or cannot be reached; a late commit of it is harmless."""
        import ray

        assert slot.now is not None
        item, ref = slot.now.item, slot.run_ref
        slot.run_ref = slot.now = slot.peek_ref = None
        try:
            return Outcome(slot.group.name, item, value=ray.get(ref))
        except ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(getattr(error, "cause", None), Exception) else error
            if not isinstance(cause, LongtakeError):
                self._drop(slot)  # an unexpected error, such as a CUDA fault, may leave it unusable
            return Outcome(slot.group.name, item, error=cause)
        except ray.exceptions.RayError as error:
            self._drop(slot)
            reason = f"{slot.name} (process {slot.pid}) died: {cause_of(error, slot.output)}"
            return Outcome(slot.group.name, item, error=WorkerDied(reason), died=True)

    def _peek(self) -> None:
        """Requests the progress of busy workers, at most twice a second each, without waiting for the answer."""
        import ray

        for slot in [slot for slot in self.slots if slot.now is not None]:
            if slot.peek_ref is None and time.monotonic() >= slot.peek_due:
                slot.peek_ref = slot.actor.peek.options(concurrency_group="peek").remote()
                slot.peek_due = time.monotonic() + PEEK_SECONDS
            elif slot.peek_ref is not None and ray.wait([slot.peek_ref], timeout=0)[0]:
                ref, slot.peek_ref = slot.peek_ref, None
                try:
                    slot.heard(ray.get(ref))
                except ray.exceptions.RayError:
                    continue  # the run's own reference has the error

    def _replace_stalled(self) -> list[Outcome]:
        outcomes = []
        for slot in [slot for slot in self.slots if slot.now is not None]:
            if slot.now is not None and slot.silent_seconds > (allowed := slot.allowed_silence):
                step = f" after {slot.now.report.get('unit', 'report')} {slot.now.report.get('done', 0)}"
                error = WorkerStalled(
                    f"{slot.name} (process {slot.pid}) reported nothing for {slot.silent_seconds:.0f} s"
                    f"{step if slot.now.report else ''}; allowed: {allowed:.0f} s"
                )
                outcomes.append(Outcome(slot.group.name, slot.now.item, error=error, died=True))
                self._drop(slot)
        return outcomes

    def _drop(self, slot: Slot) -> None:
        import ray

        self.slots.remove(slot)
        if self.health is None or not self.health.is_lost:
            ray.kill(slot.actor, no_restart=True)
