"""One worker of a fleet on Ray: the actor around a plain worker, and the driver's record of it. Imports no Ray."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from longtake.platform.workers.deaths import output_file
from longtake.platform.workers.fleet import Group, Item, Running


class Progress(NamedTuple):
    """The progress of a worker: its `item`-th item, the number of reports about it, and the latest of them."""

    item: int = 0
    reports: int = 0
    report: dict[str, Any] = {}


class Shell:
    """The actor around a plain worker: runs one item at a time and reports its progress meanwhile."""

    def __init__(self, make: Callable[[], Any]):
        self.worker = make()
        self.latest = Progress()

    def ready(self) -> tuple[int, str]:
        """Its process id, and the file of its standard error."""
        return os.getpid(), output_file()

    def run(self, payload: Any) -> Any:
        self.latest = Progress(self.latest.item + 1)
        return self.worker.run(payload, self._report)

    def peek(self) -> Progress:
        return self.latest

    def _report(self, report: dict[str, Any]) -> None:
        self.latest = Progress(self.latest.item, self.latest.reports + 1, report)


@dataclass
class Slot:
    """One worker of a group: starting (`ready_ref`), idle, or busy (`run_ref` and `now`)."""

    group: Group
    name: str
    actor: Any
    ready_ref: Any
    started: float = field(default_factory=time.monotonic)
    pid: int = 0
    output: str = ""
    affinity: str = ""
    run_ref: Any = None
    now: Running | None = None
    peek_ref: Any = None
    peek_due: float = 0.0
    num_items: int = 0
    seen_reports: int = 0
    last_progress: float = 0.0
    longest_step: float | None = None

    def hand(self, item: Item) -> None:
        """Starts an item on this idle worker."""
        self.affinity = item.affinity
        self.run_ref = self.actor.run.remote(item.payload)
        self.now = Running(self.group.name, self.name, item)
        self.num_items += 1
        self.seen_reports, self.longest_step, self.last_progress = 0, None, time.monotonic()

    def heard(self, progress: Progress) -> None:
        """Takes note of new reports. The answer of a worker that has not begun this item is about the one before, and
        says nothing."""
        new = progress.reports - self.seen_reports
        if self.now is None or progress.item != self.num_items or not new:
            return
        now = time.monotonic()
        if self.seen_reports:
            self.longest_step = max(self.longest_step or 0.0, (now - self.last_progress) / new)
        self.seen_reports, self.now.report, self.last_progress = progress.reports, progress.report, now

    @property
    def silent_seconds(self) -> float:
        return time.monotonic() - self.last_progress

    @property
    def allowed_silence(self) -> float:
        return self.group.patience.limit(self.seen_reports, self.longest_step)
