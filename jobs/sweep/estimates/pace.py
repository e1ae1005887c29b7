"""How much the pace of a stage changes: measured by expected seconds, in windows of recent items.

Other programs on a machine come and go, so the pace of the next minutes may be that of any recent window, not the
average of the run. Knows no store, no fleet and no plan.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from longtake.platform.takes import Cell

RECENT_ITEMS, WINDOW_ITEMS = 40, 4
LEAST_PART = 0.2
"""Running items count as a window once their parts that are done are this many items together."""


@dataclass(frozen=True)
class Part:
    """Work that is done: of a cell, so many takes, in `seconds` busy seconds."""

    cell: Cell
    takes: float
    seconds: float


@dataclass
class Pace:
    """The recent items of a stage, oldest first."""

    recent: deque[Part] = field(default_factory=lambda: deque(maxlen=RECENT_ITEMS))

    def spread(self, per_take: Callable[[Cell], float], running: Iterable[Part] = ()) -> tuple[float, float]:
        """The fastest and the slowest window: measured seconds by those that `per_take` expects, at most and at least
        1. `running`: what is done of the items that have not ended; they are the newest window."""
        newest, items = [part for part in running if part.takes], list(self.recent)
        windows = [items[max(0, end - WINDOW_ITEMS) : end] for end in range(len(items), 1, -WINDOW_ITEMS)]
        if sum(part.takes for part in newest) >= LEAST_PART:
            windows.append(newest)
        ratios = [
            sum(part.seconds for part in window) / sum(part.takes * per_take(part.cell) for part in window)
            for window in windows
        ]
        return min(1.0, *ratios, 1.0), max(1.0, *ratios, 1.0)
