"""`longtake list KIND`: what exists by name, one line each, and whether it can run on this machine. Loads no model."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.jobs import shipped
from longtake.jobs.console import say
from longtake.jobs.inventory import capabilities
from longtake.platform.errors import ConfigError, LongtakeError
from longtake.platform.registry import did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

    from longtake.jobs.sweep.spec import SweepConfig


@dataclass(frozen=True)
class Entry:
    """A name, what it is, and whether it can run here."""

    name: str
    about: str
    runs: bool = True


def show(kind: str, console: Console) -> int:
    """Print the names of a kind. Returns 0. Raises ConfigError for an unknown kind."""
    if kind not in KINDS:
        raise ConfigError(f"list: unknown kind {kind!r}; {did_you_mean(kind, list(KINDS))}")
    entries = list(KINDS[kind]())
    rows = [(entry.name, "yes" if entry.runs else "no", entry.about) for entry in entries]
    lines = [(kind, "runs here", "what it is"), *rows]
    width = max(len(name) for name, *_ in lines)
    for name, runs, what in lines:
        say(console, shortened(f"{name:{width}}  {runs:9}  {what}", console.width))
    lacking = sum(not entry.runs for entry in entries)
    if lacking:
        say(console, f"{lacking} of {len(entries)} cannot run here yet; longtake doctor says what to install or pull")
    return 0


def shortened(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 3] + "..."


def backbones() -> Iterator[Entry]:
    from longtake.platform.backbones.base import backbones as known

    for one in capabilities.backbones():
        yield Entry(one.name, about(known.get(one.name)), not one.missing)


def methods() -> Iterator[Entry]:
    """A method runs if the files that its default parameters name are here."""
    from longtake.platform.methods.base import methods as known

    for name in known.names():
        try:
            known.get(name)().fingerprint()
            runs = True
        except LongtakeError:
            runs = False
        yield Entry(name, about(known.get(name)), runs)


def suites() -> Iterator[Entry]:
    from longtake.evaluators.base import suites as known

    for name in known.names():
        suite = known.get(name)()
        missing = (capabilities.dimension(name, metric).missing for metric in suite.all_metrics().values())
        yield Entry(name, suite.about, not any(missing))


def metrics() -> Iterator[Entry]:
    from longtake.evaluators.base import metrics as known

    for name in known.names():
        metric = known.get(name)()
        what = f"the chance level of {metric.floor_of}" if metric.floor_of else about(type(metric))
        yield Entry(
            name,
            f"{metric.unit}, {metric.direction} is better: {what}",
            not capabilities.dimension("", metric).missing,
        )


def sweeps() -> Iterator[Entry]:
    """The sweeps that ship. One runs if its prompts, backbones and suites are here."""
    from longtake.jobs.sweep import spec

    missing = {one.name for one in capabilities.backbones() if one.missing}
    for name in shipped.names(shipped.SWEEPS):
        file = shipped.SWEEPS / f"{name}.yaml"
        sweep = spec.load(file)
        opened = [entry.open() for entry in sweep.suite_entries()]
        dimensions = (capabilities.dimension("", metric) for suite in opened for metric in suite.all_metrics().values())
        runs = not missing & set(sweep.backbones) and not any(one.missing for one in dimensions)
        comment = re.match(r"(?:#.*\n)*", file.read_text(encoding="utf-8"))
        text = comment[0].replace("#", " ") if comment else ""
        yield Entry(name, first_sentence(text), runs and has_prompts(sweep, file))


def has_prompts(sweep: SweepConfig, file: Path) -> bool:
    from longtake.jobs.sweep.prompts import read_prompts

    try:
        return bool(read_prompts(sweep.prompts, file))
    except LongtakeError:
        return False


def about(part: type) -> str:
    """The first sentence of a part's docstring; of the nearest base class that has one."""
    return first_sentence(inspect.getdoc(part) or "")


def first_sentence(text: str) -> str:
    words = " ".join(text.split())
    return re.split(r"\. (?=[A-Z`])", words)[0].rstrip(".:")


KINDS: dict[str, Callable[[], Iterable[Entry]]] = {
    "backbones": backbones,
    "methods": methods,
    "suites": suites,
    "metrics": metrics,
    "sweeps": sweeps,
}
