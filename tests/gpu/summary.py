"""The report of a run, as text and as Markdown: goals next to measurements, steps, failures and every row.

    python -m tests.gpu.summary FOLDER [FOLDER ...]

Reads `rows.jsonl` of each folder. If several contain a step, the last one counts, so a second run of some steps
replaces them. Writes `gpu.md` to the last folder and prints a version of at most CHARACTERS. Does not need torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.gpu.goals import GOALS, Row

CHARACTERS = 10_800
LOG_CHARACTERS = 700
SMOKE_NOTE = "SMOKE RUN ON A CPU at tiny sizes: it checks that the steps work. No number here applies to a GPU."


@dataclass
class Step:
    """How a step ended, and its rows in order. `exit` None: no record of its end."""

    name: str
    exit: int | None = None
    seconds: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        if self.exit == -1:
            return "not run: the budget was spent"
        if self.exit == 124:
            return "stopped at its time limit"
        if self.exit == 137:
            return "killed: out of memory, or past its time limit"
        return "succeeded" if self.exit == 0 else f"failed, exit {self.exit}"


@dataclass
class Run:
    """Steps by name, in the order in which they ran, and the end of every step's log."""

    steps: dict[str, Step] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)

    @property
    def values(self) -> dict[Row, float | str]:
        return {(step.name, row["name"]): row["value"] for step in self.steps.values() for row in step.rows}

    @property
    def facts(self) -> dict[str, str]:
        machine = self.steps.get("machine", Step("machine"))
        return {row["name"]: row["value"] for row in machine.rows if isinstance(row["value"], str)}

    @property
    def is_smoke(self) -> bool:
        """Whether this is a smoke run, which meets no goal. A run that names no device counts as one."""
        return "smoke" in self.facts.get("device", "smoke")


def read(folders: Iterable[Path]) -> Run:
    run = Run()
    for folder in folders:
        lines = (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()
        for name, step in steps_of([json.loads(line) for line in lines]).items():
            run.steps[name] = step
        run.logs |= logs_of(folder / "logs.txt")
    return run


def steps_of(records: list[dict[str, Any]]) -> dict[str, Step]:
    steps: dict[str, Step] = {}
    for record in records:
        step = steps.setdefault(record["step"], Step(record["step"]))
        if "exit" in record:
            step.exit, step.seconds = record["exit"], record["seconds"]
        else:
            step.rows.append(record)
    return steps


def logs_of(path: Path) -> dict[str, str]:
    """Step -> the end of its log."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    parts = [part.partition("\n") for part in text.split("##### ")[1:]]
    return {name.strip(): log[-LOG_CHARACTERS:] for name, _, log in parts}


def goal_rows(run: Run) -> Iterator[tuple[str, str, str, str]]:
    """(goal, wanted, measured, met). A smoke run meets no goal."""
    for goal in GOALS:
        value = goal.measured(run.values)
        if run.is_smoke or value is None:
            yield goal.what, goal.wanted, "not measured", "-"
        else:
            yield goal.what, goal.wanted, f"{value:.4g}", "yes" if goal.is_met(value) else "NO"


def shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def markdown(run: Run) -> str:
    parts = ["# Measured on a GPU" if not run.is_smoke else "# Smoke run", ""]
    parts += [SMOKE_NOTE, ""] if run.is_smoke else []
    parts += table(("", ""), [(name, value) for name, value in run.facts.items()])
    parts += ["## Goals", "", *table(("goal", "wanted", "measured", "met"), goal_rows(run))]
    parts += ["## Steps", "", *table(("step", "seconds", "outcome"), step_rows(run))]
    for step in run.steps.values():
        rows = [(row["name"], f"{shown(row['value'])} {row['unit']}".strip(), row["note"]) for row in step.rows]
        parts += [f"## {step.name}", "", *table(("", "", ""), rows)] if rows and step.name != "machine" else []
    return "\n".join(parts)


def step_rows(run: Run) -> list[tuple[str, str, str]]:
    return [(step.name, str(step.seconds), step.outcome) for step in run.steps.values()]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """A Markdown table, followed by an empty line."""
    lines = [head, ("---",) * len(head), *rows]
    return [*("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines), ""]


def console(run: Run, most: int = CHARACTERS) -> str:
    """Goals, steps and logs of failed steps, then as many rows as fit, in the order of the steps."""
    parts = [SMOKE_NOTE] if run.is_smoke else []
    parts += [f"{name}: {value}" for name, value in run.facts.items()]
    parts += ["== goals", *("{:36s} {:>24s} {:>14s} {}".format(*row) for row in goal_rows(run))]
    parts += ["== steps", *("{:16s} {:>4s} s  {}".format(*row) for row in step_rows(run) if row[0])]
    for step in run.steps.values():
        if step.exit and step.exit > 0:
            parts += [f"== end of {step.name}'s log", run.logs.get(step.name, "").strip()]
    for step in run.steps.values():
        parts += [f"== {step.name}", *(short_line(row) for row in step.rows)] if step.name != "machine" else []
    text = "\n".join(parts)
    return text if len(text) <= most else text[: most - 40].rpartition("\n")[0] + "\n... the rest is in gpu.md"


def short_line(row: dict[str, Any]) -> str:
    return " ".join(f"{row['name'][:60]}: {shown(row['value'])} {row['unit']} {row['note'][:80]}".split())


def main(folders: list[str]) -> int:
    run, last = read(map(Path, folders)), Path(folders[-1])
    (last / "gpu.md").write_text(markdown(run), encoding="utf-8")
    print(console(run))
    print(f"report: {last / 'gpu.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["build/gpu"]))
