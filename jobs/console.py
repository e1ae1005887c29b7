"""Output of jobs: the console, tables and numbers, a progress bar, a live display, permanent lines, CSV.

`say` prints a line as it is, without the colours of another program: no markup, and no line break inside a path.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from longtake.jobs.called import as_called
from longtake.platform.errors import without_colours

if TYPE_CHECKING:
    from types import TracebackType

PLAIN_WIDTH = 176
MEASURED_WIDTH = 10_000
REFRESHES = 1.0


class CommandConsole(Console):
    """A console that shows advised commands as this process was called."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(as_called(text), **options)


def console_for(stream: Any = None) -> Console:
    """A console; without a terminal its width is PLAIN_WIDTH, so that tables are not cut to 80 columns."""
    console = CommandConsole(file=stream, highlight=False)
    return console if console.is_terminal else CommandConsole(file=stream, highlight=False, width=PLAIN_WIDTH)


def new_table(title: str | None) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)


def print_table(console: Console, table: Table, keys: int = 1) -> None:
    """Print a table in as many parts as the width needs, each with the first `keys` columns, which name the row. The
    title is printed once, and columns that do not fit even alone with the keys are folded; nothing is cut."""
    title, table.title = table.title, None
    if title:
        console.print(title, style="bold", soft_wrap=True)
    wide = console.options.update(max_width=MEASURED_WIDTH)
    names, part = table.columns[:keys], list[Column]()
    for column in table.columns[keys:]:
        table.columns = renumbered([*names, *part, column])
        if part and console.measure(table, options=wide).maximum > console.width:
            table.columns = renumbered([*names, *part])
            console.print(table)
            part = []
        part.append(column)
    table.columns = renumbered([*names, *part])
    console.print(table)


def renumbered(columns: Sequence[Column]) -> list[Column]:
    return [replace(column, _index=index) for index, column in enumerate(columns)]


def heading(metric: str) -> str:
    """The name of a metric, one word per line."""
    return escape(metric.replace("_", "\n"))


def number(value: float | None, digits: int | None = None) -> str:
    """The value as text; '-' for a missing value."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if digits is not None else f"{value:.4g}"


def interval(bounds: tuple[float, float] | None, digits: int) -> str:
    return f" \\[{bounds[0]:.{digits}f}, {bounds[1]:.{digits}f}]" if bounds else ""


def say(console: Console, line: str) -> None:
    console.print(without_colours(line), soft_wrap=True, markup=False, highlight=False)


@contextmanager
def bar(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as progress:
        yield progress


class Waiting:
    """What a live display shows before its first update: 'starting, 12 s'."""

    def __init__(self) -> None:
        self.since = time.monotonic()

    def __rich__(self) -> Text:
        return Text(f"starting, {time.monotonic() - self.since:.0f} s")


class LiveDisplay:
    """A live display on a terminal; plain lines elsewhere. Use as a context manager."""

    def __init__(self, console: Console):
        self.console = console
        self.live: Live | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live = Live(Waiting(), console=self.console, refresh_per_second=REFRESHES, transient=True)
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def say(self, line: str) -> None:
        """Print a permanent line."""
        say(self.console, line)


def table_bytes(rows: Sequence[dict[str, Any]], columns: list[str]) -> bytes:
    """The rows as CSV; an empty field is a missing value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
