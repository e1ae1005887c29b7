"""`longtake certify FILE`: holds every part that a plug-in registers to the contract of its kind, and prints tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from longtake.jobs.certify.check import Checks, Verdict, verdicts
from longtake.jobs.console import bar, console_for, new_table, say
from longtake.platform import plugins
from longtake.platform.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("platform/methods", "platform/backbones", "evaluators/metrics", "evaluators/suites")
"""Folders of the package's own parts."""
VERDICTS = {True: "passed", False: "[bold red]failed", None: "not run"}


def certify(file: Path, console: Console | None = None) -> int:
    """0 when every check passes, else 1. Raises ConfigError for a file that cannot be imported or registers nothing."""
    check_file(file)
    console, failed = console or console_for(), 0
    plugin = plugins.load([file.name], file).modules[-1]
    for noun, name in plugin.parts:
        if noun == "suite":
            continue
        checks, subject = contract(noun, name)
        table = new_table(f"{noun} {name}")
        for heading in ("check", "verdict", "detail"):
            table.add_column(heading, overflow="fold")
        for one in shown(verdicts(checks, subject, plugin.file), f"{noun} {name}", list(checks), console):
            failed += one.passed is False
            table.add_row(one.check, VERDICTS[one.passed], escape(one.detail))
        if "steps" in vars(subject):
            show_index(subject, console)
        console.print(table)
    passed = f"every check passed; next: longtake new sweep NAME --dir {file.parent}"
    say(console, f"failed checks: {failed}" if failed else passed)
    return int(failed > 0)


def shown(made: Iterator[Verdict], part: str, checks: list[str], console: Console) -> Iterator[Verdict]:
    """The verdicts, with a bar that names the check in progress."""
    with bar(console) as progress:
        task = progress.add_task(part, total=len(checks), note=checks[0])
        for count, (verdict, following) in enumerate(zip(made, [*checks[1:], ""], strict=True), 1):
            progress.update(task, completed=count, note=following)
            yield verdict


def check_file(file: Path) -> None:
    """Raises ConfigError for what is not the file of a plug-in."""
    if not os.path.exists(file) and plugins.spec_of(str(file)) is None:
        raise ConfigError(f"certify: {file}: no such file; write one with: longtake new KIND NAME")
    if os.path.exists(file) and (file.is_dir() or file.suffix != ".py"):
        raise ConfigError(f"certify: {file}: is not a Python file; give the .py file of a plug-in")
    path = file.resolve()
    for folder in SHIPPED:
        if path.is_relative_to(ROOT / folder):
            tests = f"in a checkout, check it with: python -m pytest tests/{folder}"
            raise ConfigError(f"certify: {file}: is a part of the longtake package, not a plug-in; {tests}")


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
