"""Shows a running training and logs it to MLflow. Reads the folder of the training while the workers write to it.

Reads each row once and logs rows in batches. The workers never wait for the display or for MLflow.
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
    """Reads new rows of the training, shows the latest, and logs all of them to MLflow."""

    def __init__(self, total: int, folder: TrainingFolder, console: Console, log: TrainingLog | None):
        self.total, self.name, self.console, self.log = total, folder.name, console, log
        self.stack = ExitStack()
        self.progress: Progress | None = None
        self.steps, self.validations = folder.follow(), folder.follow_validations()
        self.row: dict[str, Any] = {}
        self.held_out_loss: float | None = None
        self.last_read = self.last_shown = time.monotonic()
        self.pace: tuple[float, int] | None = None

    def __enter__(self) -> TrainingMonitor:
        if self.console.is_terminal:
            self.progress = self.stack.enter_context(bar(self.console))
            self.task = self.progress.add_task(self.name, total=self.total, note="starting")
        return self

    def __exit__(self, *_: object) -> None:
        self.update(force=True)
        self.progress = None
        self.stack.close()

    def update(self, force: bool = False) -> None:
        """Called several times a second; reads the folder every LOG_SECONDS, or now if `force`."""
        now = time.monotonic()
        if not force and now - self.last_read < LOG_SECONDS:
            return
        self.last_read = now
        rows, validations = self.steps.new_rows(), self.validations.new_rows()
        self.held_out_loss = validations[-1]["total"] if validations else self.held_out_loss
        if rows:
            self.row = rows[-1]
            self.pace = self.pace if self.pace and self.pace[1] <= self.row["step"] else (now, self.row["step"])
            self.show(now)
        if self.log is not None:
            self.log.rows([(row["step"], numbers(row)) for row in rows], "step")
            self.log.rows([(row["step"], numbers(row, "held_out_")) for row in validations], "validation")

    def show(self, now: float) -> None:
        """Updates the bar, or prints a longer line every SHOW_SECONDS."""
        row, held_out = self.row, self.held_out_loss
        rate = f"{row['chunks_per_second']:.0f} chunks/s"
        if self.progress is not None:
            parts = f"{row['total']:.3f} = {row['reconstruction']:.3f} + {row['delta']:.3f} + {row['smooth']:.3f}"
            brief = f"loss {parts}, {rate}" + (f", held out {held_out:.3f}" if held_out else "")
            self.progress.update(self.task, completed=row["step"], note=brief)
        elif now - self.last_shown >= SHOW_SECONDS:
            self.last_shown = now
            parts = ", ".join(f"{name} {row[name]:.4f}" for name in ("total", "reconstruction", "delta", "smooth"))
            full = f"loss {parts}; {rate}" + (f"; held out {held_out:.4f}" if held_out else "")
            say(self.console, f"{self.name}: step {row['step']}/{self.total}, {full}{self.left(now)}")

    def left(self, now: float) -> str:
        """The remaining time, from the rate since this process read its first row."""
        assert self.pace is not None
        since, first = self.pace
        done = self.row["step"] - first
        return f"; {(self.total - self.row['step']) * (now - since) / done:.0f} s left" if done else ""


def numbers(row: dict[str, Any], before: str = "") -> dict[str, float]:
    """The measurements of a row, without its step."""
    measured = {
        key: value for key, value in row.items() if isinstance(value, int | float) and key not in ("step", "best")
    }
    return {f"{before}{key}": float(value) for key, value in measured.items()}
