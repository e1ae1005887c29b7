"""Shows a running `longtake eval`: a line per finished video, and the progress of the videos being scored."""

from __future__ import annotations

import time

from rich.console import Console
from rich.text import Text

from longtake.jobs.console import LiveDisplay
from longtake.jobs.sweep.progress import describe
from longtake.platform.workers.fleet import Running

FIRST_SECONDS = 2.0
PLAIN_SECONDS = 10.0
LIVE_SECONDS = 0.25


class EvalProgress(LiveDisplay):
    """A display that limits its own rate: call `update` at any rate."""

    def __init__(self, console: Console):
        super().__init__(console)
        self.said_at = time.monotonic()
        self.wait_seconds = FIRST_SECONDS

    def say(self, line: str) -> None:
        """Prints a line that stays."""
        super().say(line)
        self.said_at, self.wait_seconds = time.monotonic(), FIRST_SECONDS

    def update(self, running: list[Running]) -> None:
        """On a terminal, shows the running items live; elsewhere, prints a line after a quiet period."""
        now = time.monotonic()
        if not running or now - self.said_at < (LIVE_SECONDS if self.live is not None else self.wait_seconds):
            return
        lines = [describe(item) for item in running]
        if self.live is not None:
            self.live.update(Text("\n".join(f"  {line}" for line in lines), style="dim"), refresh=True)
            self.said_at = now
            return
        self.say(f"  {', '.join(lines)}")
        self.wait_seconds = PLAIN_SECONDS
