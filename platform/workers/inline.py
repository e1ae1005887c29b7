"""A fleet in this process: `poll` runs one item to its end. For tests, debugging and small sweeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from longtake.platform.errors import Interrupted
from longtake.platform.workers.fleet import Group, Item, ItemQueue, OnStart, Outcome, Running, Worker
from longtake.platform.workers.signals import StopFlag


class InlineFleet:
    """Runs one item at a time, in the calling thread."""

    def __init__(self, groups: list[Group], on_start: OnStart, stop: StopFlag, on_report: Callable[[], None] | None):
        self.groups = {group.name: group for group in groups}
        self.queues = {group.name: ItemQueue() for group in groups}
        self.workers: dict[str, Worker] = {}
        self.last_affinity: dict[str, str] = {}
        self.on_start, self.stop, self.on_report = on_start, stop, on_report
        self.now: Running | None = None

    def submit(self, group: str, item: Item) -> None:
        self.queues[group].push(item)

    def clear(self) -> None:
        self.queues = {name: ItemQueue() for name in self.groups}

    def close(self) -> None:
        self.workers.clear()

    def running(self) -> list[Running]:
        return [self.now] if self.now else []

    def poll(self, timeout_seconds: float) -> list[Outcome]:
        """Runs an item of the last group that has one, so a video is scored before the next one is made."""
        name = next((name for name in reversed(self.queues) if self.queues[name]), None)
        return [] if name is None else self._run_one(name)

    def _run_one(self, name: str) -> list[Outcome]:
        item = self.queues[name].pop(self.last_affinity.get(name, ""))
        self.last_affinity[name] = item.affinity
        if name not in self.workers:
            self.workers[name] = self.groups[name].make()
        self.on_start(name, item)
        self.now = Running(name, f"{name}-inline", item)
        try:
            return [Outcome(name, item, value=self.workers[name].run(item.payload, self._report))]
        except Interrupted:
            return []
        except Exception as error:  # any error of an item is the outcome of that item
            return [Outcome(name, item, error=error)]
        finally:
            self.now = None

    def _report(self, report: dict[str, Any]) -> None:
        if self.now is not None:
            self.now.report = report
        if self.on_report is not None:
            self.on_report()
        if self.stop.is_set:
            raise Interrupted("stopped by a signal")
