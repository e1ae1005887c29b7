"""Reads the rows of a trace. A row that is missing, out of order or malformed is an error that names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from longtake.platform.methods.base import RETRIEVED


@dataclass(frozen=True)
class Block:
    """A row of a trace: `size` new frames, `attended` as (frame, reason, similarity), `attention`: their shares."""

    first: int
    size: int
    given: bool
    attended: tuple[tuple[int, str, float | None], ...]
    attention: tuple[float, ...] | None

    @property
    def end(self) -> int:
        return self.first + self.size

    @property
    def retrieved(self) -> list[int]:
        return [frame for frame, reason, _ in self.attended if reason == RETRIEVED]

    @property
    def similarities(self) -> list[float]:
        return [s for _, reason, s in self.attended if reason == RETRIEVED and s is not None]

    def share(self, *reasons: str) -> float:
        """Share of the attention on the entries with these reasons; NaN where attention was not measured."""
        if self.attention is None:
            return float("nan")
        return sum(share for share, (_, why, _) in zip(self.attention, self.attended, strict=True) if why in reasons)


def read_blocks(rows: Sequence[Any], expected: int) -> list[Block]:
    """Parse the `expected` rows of a trace. Raises ValueError, naming the first row that is missing or damaged."""
    blocks: list[Block] = []
    for number in range(expected):
        try:
            block = read_block(rows[number])
            if block.first != (blocks[-1].end if blocks else 0):
                raise ValueError
            blocks.append(block)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise ValueError(f"row {number + 1} of {expected} is missing or damaged") from error
    if len(rows) > expected:
        raise ValueError(f"has {len(rows)} rows, expected {expected}")
    return blocks


def read_block(row: dict[str, Any]) -> Block:
    attended = tuple(
        (int(frame), str(reason), None if similarity is None else float(similarity))
        for frame, _, reason, similarity in row["attended"]
    )
    shares = row.get("attention")
    attention = None if shares is None else tuple(float(share) for share in shares)
    block = Block(int(row["first"]), len(row["query"]), bool(row["given"]), attended, attention)
    if not all(0 <= frame < block.end for frame, _, _ in attended):
        raise ValueError
    if attention is not None and len(attention) != len(attended):
        raise ValueError
    return block
