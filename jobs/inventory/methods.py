"""`longtake methods`: what each context method attends, where, and what it holds; or everything about one method.

Positions and what is held are observed: every method runs a few blocks, with its default parameters. What a method with
groups keeps inside its layers cannot be observed there; KEPT says it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
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
OWN, ALL = "-", "all"
KEPT: Mapping[str, tuple[str, str]] = {
    "deep-forcing": ("tokens+query", "single tokens of every layer, and its queries of the newest frames"),
    "dummy-forcing": ("frames", "whole frames of every kind of heads: the first, and the newest blocks"),
    "forcing-kv": ("tokens", "runs of tokens of the dynamic heads"),
    "tethercache": ("edited frames", "frames of every layer, edited when they joined"),
    "triattention": ("tokens+means", "single tokens of every head, and statistics of its queries"),
}
"""What a method with groups keeps beside its window: in the table, and in full."""
LEGEND = """frames: latent frames that a block attends; holds: what is kept besides
absolute: queries and keys at their own frames; moved: queries, but not all keys
golden: checked by recorded cases; golden*: by those of a variant, named below
NAME: one in full"""
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
    for line in LEGEND.splitlines():
        say(console, line)
    for one in methods.names():
        if checked(one).startswith("golden with"):
            say(console, f"* {one}: {checked(one)}")
    return 0


def facts_of(name: str) -> Facts:
    from longtake.jobs.certify.methods import MethodSubject

    subject = MethodSubject(name)
    frames = attended(subject.config, subject.window)
    try:
        steps = list(islice(subject.walk([0]), BLOCKS))
    except LongtakeError:
        return Facts(name, frames, OWN, "cannot run here", source(name), OWN)
    how = checked(name)
    how = "golden*" if how.startswith("golden with") else how
    return Facts(name, frames, positions(steps), held(subject, steps)[0], source(name), how)


def checked(name: str) -> str:
    """How the method is held to its source, and with which parameters if these are not the defaults."""
    from longtake.jobs.golden.recorded import variant

    params = variant(name)
    if params is None:
        return "by hand"
    said = [f"{key}: {str(value).lower() if isinstance(value, bool) else value}" for key, value in params.items()]
    return f"golden with {', '.join(said)}" if said else "golden"


def attended(config: Any, window: Window) -> str:
    from longtake.platform.backbones.pocket_network import NETWORK

    frames = config.attended(window, NETWORK)
    return ALL if frames is None else ("<=" if config.varies else "") + budgets.text(frames)


def positions(steps: list[Step]) -> str:
    """Whether the queries of the last block, and the keys that it attends, are at their own frames."""
    step = steps[-1]
    if step.plan.query_times[0] != step.first:
        return "relative"
    moved = any(at.time != at.frame for row in step.plan.rows for at in row)
    return "moved" if moved else "absolute"


def held(subject: Any, steps: list[Step]) -> tuple[str, str]:
    """What the method keeps beside the window's frames: in short, and in words."""
    from longtake.platform.methods.parts.retrieval import RetrievalConfig

    last, config = steps[-1], subject.config
    if attended(config, subject.window) == ALL:
        return "all frames", "every frame so far: what it holds grows with the video"
    if config.keeps_evicted:
        vectors = isinstance(config, RetrievalConfig)
        bank = "the bank: keys and values of all frames that have left the window"
        return ("bank+vectors", f"{bank}, and a vector for every frame") if vectors else ("bank", bank)
    derived = sum(not isinstance(source, int) for source in last.cached)
    live = subject.window.live(last.first + 3)
    pinned = sum(isinstance(source, int) and source not in live for source in last.cached)
    if derived and pinned:
        return f"{derived + pinned} entries", f"{pinned} frames that stay, and {derived} entries computed from frames"
    if derived:
        return f"{derived} derived", f"{derived} entries computed from frames"
    if subject.name in KEPT or subject.grouped:
        return KEPT.get(subject.name, ("picked keys", "what its heads attended in the block before"))
    if pinned:
        return f"{pinned} pinned", f"{pinned} frames that stay beside the window"
    return OWN, "nothing beside the window"


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
    steps = list(islice(subject.walk([0]), SHOWN[-1] + 1))
    say(console, f"\nholds {held(subject, steps[:BLOCKS])[1]}")
    say(console, f"source: {source(name)}; checked: {checked(name)}")
    say(console, f"attends {attended(subject.config, subject.window)} latent frames; entry@time index, by block")
    for block in SHOWN:
        say(console, f"  block {block:2}: {listed(steps[block])}")
    return 0
