"""Which takes of a sweep a run works on: `--only` and `--max-takes`. The plan, the ids and the folder stay the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from longtake.platform.errors import ConfigError
from longtake.platform.registry import did_you_mean
from longtake.platform.takes import Cell, Take


@dataclass(frozen=True)
class Selection:
    """`only`: patterns of cells, such as pocket/rag/30; a take is selected if its cell matches any of them.

    `max_takes`: the most takes, spread over the cells; the same number always selects the same takes."""

    only: tuple[str, ...] = ()
    max_takes: int | None = None

    @property
    def text(self) -> str:
        """The options that give this selection; '' if it is everything."""
        limit = [] if self.max_takes is None else [f"--max-takes {self.max_takes}"]
        return " ".join([*(f"--only {pattern}" for pattern in self.only), *limit])

    def of(self, takes: Sequence[Take]) -> list[Take]:
        """The selected takes, in order."""
        cells = {take.cell for take in takes}
        wanted = {cell for cell in cells if not self.only or any(matches(cell, pattern) for pattern in self.only)}
        chosen = [take for take in takes if take.cell in wanted]
        if self.max_takes is None:
            return chosen
        first = set(sorted(range(len(chosen)), key=number_in_cell(chosen).__getitem__)[: self.max_takes])
        return [take for number, take in enumerate(chosen) if number in first]

    def check(self, takes: Sequence[Take]) -> None:
        """Raises ConfigError for a pattern that matches no cell."""
        cells = list(dict.fromkeys(take.cell for take in takes))
        for pattern in self.only:
            if not any(matches(cell, pattern) for cell in cells):
                columns = zip(*map(parts_of, cells), strict=True)
                known = list(dict.fromkeys(name for column in columns for name in column))
                form = "give BACKBONE/METHOD/LENGTH or a part of it, in which * stands for any text"
                hint = did_you_mean(pattern, known, patterns_like(pattern, cells))
                raise ConfigError(f"--only: {pattern!r} matches no cell; {form}; {hint}")


EVERYTHING = Selection()


def number_in_cell(takes: Sequence[Take]) -> list[int]:
    """Of each take, the number of earlier takes of its cell."""
    seen: Counter[Cell] = Counter()
    numbers = []
    for take in takes:
        numbers.append(seen[take.cell])
        seen[take.cell] += 1
    return numbers


def parts_of(cell: Cell) -> tuple[str, str, str]:
    return cell.backbone, cell.method, str(cell.seconds)


def patterns_like(pattern: str, cells: Sequence[Cell]) -> list[str]:
    """The patterns without * that have as many parts as this one and match a cell."""
    rows = list(map(parts_of, cells))
    count = min(pattern.count("/") + 1, len(rows[0]))
    starts = range(len(rows[0]) + 1 - count)
    return list(dict.fromkeys("/".join(row[start : start + count]) for start in starts for row in rows))


def matches(cell: Cell, pattern: str) -> bool:
    """Whether neighbouring parts of BACKBONE/METHOD/LENGTH match the parts of the pattern: `rag` and `rag/30` match
    pocket/rag/30, and so does `pocket*/*/30`. A length may end with s, as in tables."""
    parts, globs = parts_of(cell), pattern.split("/")
    names = [{part, f"{part}s"} if index == 2 else {part} for index, part in enumerate(parts)]
    return any(
        all(any(fnmatchcase(name, glob) for name in one) for one, glob in zip(names[start:], globs, strict=False))
        for start in range(len(parts) - len(globs) + 1)
    )
