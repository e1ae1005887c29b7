"""One worker of a fleet on Ray: the actor around a plain worker, and the driver's record of it. Imports no Ray."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from longtake.platform.workers.deaths import output_file
from longtake.platform.workers.fleet import Group, Item, Running


class Shell:
    """The actor around a plain worker: runs one item at a time and reports its progress meanwhile."""

    def __init__(self, make: Callable[[], Any]):
        self.worker = make()
        self.latest: tuple[int, dict[str, Any]] = (0, {})

    def ready(self) -> tuple[int, str]:
        """Its process id, and the file of its standard error."""
        return os.getpid(), output_file()

    def run(self, payload: Any) -> Any:
        return self.worker.run(payload, self._report)

    def peek(self) -> tuple[int, dict[str, Any]]:
        return self.latest

    def _report(self, report: dict[str, Any]) -> None:
        self.latest = (self.latest[0] + 1, report)


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
    seen_reports: int = 0
    first_report: int = 0
    last_progress: float = 0.0
    longest_step: float | None = None

    def hand(self, item: Item) -> None:
        """Starts an item on this idle worker."""
        self.affinity = item.affinity
        self.run_ref = self.actor.run.remote(item.payload)
        self.now = Running(self.group.name, self.name, item)
        self.first_report, self.longest_step, self.last_progress = self.seen_reports, None, time.monotonic()

    def heard(self, count: int, report: dict[str, Any]) -> None:
        """Takes note of the worker's `count`-th report."""
        assert self.now is not None
        now, new = time.monotonic(), count - self.seen_reports
        if self.seen_reports > self.first_report:
            self.longest_step = max(self.longest_step or 0.0, (now - self.last_progress) / new)
        self.seen_reports, self.now.report, self.last_progress = count, report, now

    @property
    def silent_seconds(self) -> float:
        return time.monotonic() - self.last_progress

    @property
    def allowed_silence(self) -> float:
        return self.group.patience.limit(self.seen_reports - self.first_report, self.longest_step)
