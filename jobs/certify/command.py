"""`longtake certify FILE`: holds every part that a plug-in registers to the contract of its kind, and prints tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from longtake.jobs.certify.check import Checks, verdicts
from longtake.jobs.console import console_for, new_table, say
from longtake.platform import plugins


def certify(file: Path, console: Console | None = None) -> int:
    """0 when every check passes, else 1. Raises ConfigError for a file that cannot be imported or registers nothing."""
    console, failed = console or console_for(), 0
    for noun, name in plugins.load([file.name], file).modules[-1].parts:
        if noun == "suite":
            continue
        checks, subject = contract(noun, name)
        table = new_table(f"{noun} {name}")
        for heading in ("check", "verdict", "detail"):
            table.add_column(heading, overflow="fold")
        for one in verdicts(checks, subject):
            failed += not one.passed
            table.add_row(one.check, "passed" if one.passed else "[bold red]failed", escape(one.detail))
        if "steps" in vars(subject):
            show_index(subject, console)
        console.print(table)
    passed = f"every check passed; next: longtake new sweep NAME --dir {file.parent}"
    say(console, f"failed checks: {failed}" if failed else passed)
    return int(failed > 0)


def contract(noun: str, name: str) -> tuple[Checks, Any]:
    """The checks of a kind of part, and what they are called with."""
    if noun == "metric":
        from longtake.jobs.certify.metrics import METRIC_CHECKS, MetricSubject

        return METRIC_CHECKS, MetricSubject(name)
    if noun == "backbone":
        from longtake.jobs.certify.backbones import BACKBONE_CHECKS, BackboneSubject

        return BACKBONE_CHECKS, BackboneSubject(name)
    from longtake.jobs.certify.methods import METHOD_CHECKS, MethodSubject

    return METHOD_CHECKS, MethodSubject(name)


def show_index(subject: Any, console: Console) -> None:
    """What blocks attend: frame@time index, by reason."""
    from longtake.jobs.certify.methods import SHOWN, listed

    for block in SHOWN:
        say(console, f"block {block:2}: {listed(subject.steps[block])}")
