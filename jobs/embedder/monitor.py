"""What a training's watcher shows and tells MLflow, read from the training's folder while workers write to it.

Each row is read once, shown now and then, and logged in batches; no worker ever waits for any of it.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

from longtake.jobs.console import bar, say
from longtake.platform.store.training import TrainingFolder

if TYPE_CHECKING:
    from longtake.platform.tracking.training_log import TrainingLog

SHOW_SECONDS = 10.0
LOG_SECONDS = 2.0


class TrainingMonitor:
    """Reads the training's rows as they come: to the screen, and to MLflow."""

    def __init__(self, total: int, folder: TrainingFolder, console: Console, log: TrainingLog | None):
        self.total, self.name, self.console, self.log = total, folder.name, console, log
        self.shows = ExitStack()
        self.progress: Progress | None = None
        self.steps, self.validations = folder.follow(), folder.follow_validations()
        self.row: dict[str, Any] = {}
        self.held: float | None = None
        self.looked = self.shown = time.monotonic()
        self.pace: tuple[float, int] | None = None

    def __enter__(self) -> TrainingMonitor:
        if self.console.is_terminal:
            self.progress = self.shows.enter_context(bar(self.console))
            self.task = self.progress.add_task(self.name, total=self.total, note="starting")
        return self

    def __exit__(self, *_: object) -> None:
        self.update(force=True)
        self.progress = None
        self.shows.close()

    def update(self, force: bool = False) -> None:
        """Called several times a second; looks at the folder now and then."""
        now = time.monotonic()
        if not force and now - self.looked < LOG_SECONDS:
            return
        self.looked = now
        rows, validations = self.steps.new_rows(), self.validations.new_rows()
        self.held = validations[-1]["total"] if validations else self.held
        if rows:
            self.row = rows[-1]
            self.pace = self.pace if self.pace and self.pace[1] <= self.row["step"] else (now, self.row["step"])
            self.show(now)
        if self.log is not None:
            self.log.rows([(row["step"], numbers(row)) for row in rows], "step")
            self.log.rows([(row["step"], numbers(row, "held_out_")) for row in validations], "validation")

    def show(self, now: float) -> None:
        """The bar says it in brief, a line in full."""
        row, held = self.row, self.held
        rate = f"{row['chunks_per_second']:.0f} chunks/s"
        if self.progress is not None:
            parts = f"{row['total']:.3f} = {row['reconstruction']:.3f} + {row['delta']:.3f} + {row['smooth']:.3f}"
            brief = f"loss {parts}, {rate}" + (f", held out {held:.3f}" if held else "")
            self.progress.update(self.task, completed=row["step"], note=brief)
        elif now - self.shown >= SHOW_SECONDS:
            self.shown = now
            parts = ", ".join(f"{name} {row[name]:.4f}" for name in ("total", "reconstruction", "delta", "smooth"))
            full = f"loss {parts}; {rate}" + (f"; held out {held:.4f}" if held else "")
            say(self.console, f"{self.name}: step {row['step']}/{self.total}, {full}{self.left(now)}")

    def left(self, now: float) -> str:
        """The time left, from the steps since this process began to look."""
        assert self.pace is not None
        since, first = self.pace
        done = self.row["step"] - first
        return f"; {(self.total - self.row['step']) * (now - since) / done:.0f} s left" if done else ""


def numbers(row: dict[str, Any], before: str = "") -> dict[str, float]:
    """What of a row is a measurement."""
    measured = {
        key: value for key, value in row.items() if isinstance(value, int | float) and key not in ("step", "best")
    }
    return {f"{before}{key}": float(value) for key, value in measured.items()}
