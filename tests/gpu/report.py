"""The rows of one step, printed as they are measured and kept as JSON lines for the summary.

A failed measurement becomes a row FAILED with its reason. The step continues, and ends with exit code 1.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.gpu.setting import ROWS

REASON_CHARACTERS = 160


class Report:
    """Appends each row to `<folder>/<step>.jsonl`, so that a step that is stopped keeps its rows."""

    def __init__(self, step: str, folder: Path = ROWS):
        self.step, self.failures = step, 0
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{step}.jsonl"
        self.path.write_text("")

    def row(self, name: str, value: float | str, unit: str = "", note: str = "") -> None:
        """Add a number or a word."""
        self.keep({"step": self.step, "name": name, "value": value, "unit": unit, "note": note})

    def time(self, name: str, milliseconds: float, tflop: float = 0.0, gbyte: float = 0.0) -> None:
        """Add a time, with its rate for this much work or traffic."""
        rate = ""
        if tflop:
            rate = f"{tflop / milliseconds * 1e3:.4g} TFLOP/s"
        elif gbyte:
            rate = f"{gbyte / milliseconds * 1e3:.4g} GB/s"
        self.row(name, milliseconds, "ms", rate)

    def measure(self, name: str, clock: Callable[[], float], tflop: float = 0.0, gbyte: float = 0.0) -> None:
        """Add the time that `clock` returns, or its failure."""
        with self.guard(name):
            self.time(name, clock(), tflop, gbyte)

    @contextmanager
    def guard(self, name: str) -> Iterator[None]:
        """Turn an error inside into a row `name` with its reason."""
        try:
            yield
        except Exception as error:
            self.failures += 1
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:REASON_CHARACTERS]
            self.keep({"step": self.step, "name": name, "value": "FAILED", "unit": "", "note": reason})

    def keep(self, row: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(line(row), flush=True)

    def exit_code(self) -> int:
        return 1 if self.failures else 0


def line(row: dict[str, Any]) -> str:
    """A row as text."""
    value = row["value"] if isinstance(row["value"], str) else f"{row['value']:.4g}"
    return f"{row['name'][:64]:64s} {value:>10s} {row['unit']:8s} {row['note']}".rstrip()
