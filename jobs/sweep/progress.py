"""Shows the progress of a sweep: a live display on a terminal, plain lines elsewhere. Reads no files."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from longtake.jobs.console import LiveDisplay
from longtake.jobs.sweep.estimates.busy_time import SAMPLERS
from longtake.jobs.sweep.scheduler import Snapshot
from longtake.platform.workers.fleet import Running

PLAIN_SECONDS = 20.0
QUIET_SECONDS = 30.0
LIVE_SECONDS = 0.25
MAX_ROWS = 16


class SweepProgress(LiveDisplay):
    """The progress display of a sweep. `update` limits its own rate, so it can be called at any time."""

    def __init__(self, console: Console, title: str):
        super().__init__(console)
        self.title = title
        self.shown_at = 0.0
        self.shown_counts: tuple[int | None, ...] = (-1, -1, -1)

    def update(self, snapshot: Snapshot) -> None:
        now = time.monotonic()
        if self.live is not None:
            if now - self.shown_at >= LIVE_SECONDS:
                self.shown_at = now
                self.live.update(render(self.title, snapshot), refresh=True)
            return
        done = (snapshot.made, snapshot.scored, snapshot.failed)
        quiet = now - self.shown_at
        if quiet >= QUIET_SECONDS or (quiet >= PLAIN_SECONDS and done != self.shown_counts):
            self.shown_at, self.shown_counts = now, done
            self.say(plain_line(self.title, snapshot))


def plain_line(title: str, snapshot: Snapshot) -> str:
    return (
        f"{title}: {counts(snapshot)}; {pace(snapshot)}; running: {', '.join(map(describe, snapshot.running)) or '-'}"
    )


def counts(snapshot: Snapshot) -> str:
    failed = f", {snapshot.failed} failed" if snapshot.failed else ""
    scored = f", scored {snapshot.scored}/{snapshot.total}" if snapshot.scored is not None else ""
    return f"made {snapshot.made}/{snapshot.total}{scored}{failed}"


def pace(snapshot: Snapshot) -> str:
    rate = f"{snapshot.takes_per_minute:.1f}" if snapshot.takes_per_minute else "-"
    return f"{rate} takes/min, {clock(snapshot.seconds)} elapsed, {left(snapshot)}"


def left(snapshot: Snapshot) -> str:
    """'0:50-1:20 left', a range that the rest should take; 'estimating time left' before a take has passed."""
    if snapshot.seconds_left is None:
        return "estimating time left"
    ends = snapshot.seconds_left_range or (snapshot.seconds_left, snapshot.seconds_left)
    return f"{'-'.join(dict.fromkeys(map(clock, ends)))} left"


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def describe(running: Running) -> str:
    verb = "make" if running.group == SAMPLERS else "score"
    report: dict[str, Any] = running.report
    step = f" {report['unit']} {report['done']}/{report['total']}" if "total" in report else ""
    stage = f", {report['stage']}" if report.get("stage") else ""
    return f"{verb} {running.item.label}{step}{stage}"


def render(title: str, snapshot: Snapshot) -> RenderableType:
    bars = Table.grid(padding=(0, 1))
    for name, value in (("made", snapshot.made), ("scored", snapshot.scored)):
        if value is None:
            continue
        bar = ProgressBar(total=max(1, snapshot.total), completed=value, width=40)
        bars.add_row(name, bar, f"{value}/{snapshot.total}")
    rows = [Text(f"  {describe(running)}", style="dim") for running in snapshot.running[:MAX_ROWS]]
    failed = f", {snapshot.failed} failed" if snapshot.failed else ""
    return Group(Text(f"{title}: {pace(snapshot)}{failed}", style="bold"), bars, *rows)
