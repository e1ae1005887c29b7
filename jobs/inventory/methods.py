"""`longtake methods`: what each context method attends, where, and what it holds; or everything about one method.

Positions and what is held are observed: every method runs a few blocks, with its default parameters.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, fields
from itertools import islice
from typing import TYPE_CHECKING, Any

from longtake.jobs.console import say
from longtake.platform import budgets
from longtake.platform.errors import LongtakeError
from longtake.platform.methods.base import Window, methods

if TYPE_CHECKING:
    from rich.console import Console

    from longtake.jobs.certify.walks import Step

BLOCKS = 14
"""Enough for every published window of 21 frames to slide."""
HEADS = ("method", "frames", "indices", "holds", "source", "checked")
OWN = "-"
SOURCE = re.compile(r"\(([^()]+?, 20\d\d)\b")
"""In a config's docstring: the authors' name of the method, and the year."""


@dataclass(frozen=True)
class Facts:
    """A line of the table."""

    name: str
    frames: str
    positions: str
    holds: str
    source: str
    checked: str

    @property
    def cells(self) -> tuple[str, ...]:
        return self.name, self.frames, self.positions, self.holds, self.source, self.checked


def show(name: str | None, console: Console) -> int:
    """Print a line per method, or one method in full. Returns 0. Raises ConfigError for an unknown name."""
    if name is not None:
        return show_one(name, console)
    rows = [HEADS, *(facts_of(one).cells for one in methods.names())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say(console, "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    say(console, "frames: latent frames that a block attends; holds: memory besides; NAME: one in full")
    return 0


def facts_of(name: str) -> Facts:
    from longtake.jobs.certify.methods import MethodSubject
    from longtake.jobs.golden.recorded import PARAMETERS, PUBLISHED, UNRECORDED

    subject = MethodSubject(name)
    frames = attended(subject.config, subject.window)
    try:
        steps = list(islice(subject.walk([0]), BLOCKS))
    except LongtakeError:
        return Facts(name, frames, OWN, "cannot run here", source(name), OWN)
    checked = "golden" if name in {*PARAMETERS, *PUBLISHED} - UNRECORDED else "by hand"
    return Facts(name, frames, positions(steps), held(subject, steps), source(name), checked)


def attended(config: Any, window: Window) -> str:
    from longtake.platform.backbones.pocket_network import NETWORK

    frames = config.attended(window, NETWORK)
    return "all" if frames is None else ("<= " if config.varies else "") + budgets.text(frames)


def positions(steps: list[Step]) -> str:
    """Whether the last block's queries are at their own frames, or at places in a window."""
    return "absolute" if steps[-1].plan.query_times[0] == steps[-1].first else "relative"


def held(subject: Any, steps: list[Step]) -> str:
    """What the method keeps beside the window's frames, in a few words."""
    last = steps[-1]
    derived = sum(not isinstance(source, int) for source in last.cached)
    live = subject.window.live(last.first + 3)
    pinned = sum(isinstance(source, int) and source not in live for source in last.cached)
    if derived and pinned:
        return f"{derived + pinned} entries"
    parts = ["bank"] if subject.config.keeps_evicted else []
    parts += [f"{derived} derived"] if derived else []
    parts += [f"{pinned} pinned"] if pinned and not subject.config.keeps_evicted else []
    parts += ["picked keys"] if subject.grouped else []
    return ", ".join(parts) or OWN


def source(name: str) -> str:
    """The method's authors' name for it, and the year; - for a method of this package."""
    found = SOURCE.search(" ".join((inspect.getdoc(methods.get(name)) or "").split()))
    return found[1] if found else OWN


def show_one(name: str, console: Console) -> int:
    from longtake.jobs.certify.methods import SHOWN, MethodSubject, listed

    kind = methods.get(name)
    module = inspect.getmodule(kind)
    subject = MethodSubject(name)
    for text in (inspect.getdoc(module), inspect.getdoc(kind)):
        say(console, f"{text}\n")
    say(console, "parameters")
    for one in fields(subject.config):
        say(console, f"  {one.name}: {getattr(subject.config, one.name)}")
    say(console, f"\nattends {attended(subject.config, subject.window)} latent frames; entry@time index, by block")
    steps = list(islice(subject.walk([0]), SHOWN[-1] + 1))
    for block in SHOWN:
        say(console, f"  block {block:2}: {listed(steps[block])}")
    return 0
