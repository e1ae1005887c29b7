"""A street without end: stretches of 96 columns, each drawn as a circular street is, joined to the next.

Sky and hills run on from one stretch to the next. No two columns within four minutes of walking are alike: a lot that
looks like one of an earlier stretch gets the next free look. Earlier means in the order 0, -1, 1, -2, 2 and so on, so a
stretch is the same however far the street was drawn before.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from longtake.platform.errors import LongtakeError
from longtake.platform.pocket.world import (
    COLUMN_DIMS,
    COLUMNS,
    HILL_PX,
    HILLS,
    LOOKS,
    LOTS,
    PROPS,
    TINT,
    TINTS,
    Drawing,
    Lots,
    check_words,
    draw_lots,
    raw_numbers,
    rolling,
    split_columns,
)

APART = 2.0
"""Columns differ by more than this mean square, as in a circular street."""
REACH = 10
"""A column is unlike all columns of so many stretches to its left and to its right."""


class LongStreet:
    """The drawn stretches of one street. `sky` and `material`: in which no two columns are alike."""

    def __init__(self, name: str, sky: str, material: str) -> None:
        check_words(sky, material)
        self.name, self.sky, self.material = name, sky, material
        self._drawn: dict[int, Drawing] = {}
        self._columns: dict[int, np.ndarray] = {}

    def stretch(self, number: int) -> Drawing:
        """Columns 96 `number` .. 96 `number` + 95, for any integer. Draws what is missing before it."""
        while number not in self._drawn:
            index = len(self._drawn)
            self._draw(index // 2 if index % 2 == 0 else -(index + 1) // 2)
        return self._drawn[number]

    def _draw(self, number: int) -> None:
        raw, following = self._numbers(number), self._numbers(number + 1)
        tint = rolling(raw[TINT], TINTS, int(following[TINT][0]))
        hills = rolling(raw[HILLS], HILL_PX, int(following[HILLS][0]))
        lots = draw_lots(raw[LOTS].reshape(5, COLUMNS))
        near = [self._columns[one] for one in range(number - REACH, number + REACH + 1) if one in self._columns]
        before = np.concatenate([np.zeros((0, COLUMN_DIMS)), *near])
        for _ in range(LOOKS):
            drawing = Drawing(lots, tint, hills)
            columns = split_columns(drawing.paint(self.sky, self.material)).astype(np.float64)
            twins = are_near(columns, before)
            if not twins.any():
                self._drawn[number], self._columns[number] = drawing, columns
                return
            lots = with_other_looks(lots, np.unique(lots.at(np.flatnonzero(twins))))
        raise LongtakeError(f"pocket street {self.name}: stretch {number} has no new look left; use another seed")

    def _numbers(self, number: int) -> np.ndarray:
        return raw_numbers(f"{self.name}|long|{number}")


@lru_cache(maxsize=8)
def long_street(name: str, sky: str, material: str) -> LongStreet:
    """The street of this name, which keeps what it has drawn."""
    return LongStreet(name, sky, material)


def are_near(columns_CD: np.ndarray, others_ND: np.ndarray) -> np.ndarray:
    """bool [C]: whether a column looks like one of the others. Sums of products of bytes are exact in float64."""
    squares = np.square(columns_CD).sum(axis=1)[:, None] + np.square(others_ND).sum(axis=1)
    near: np.ndarray = (squares - 2 * columns_CD @ others_ND.T <= APART * COLUMN_DIMS).any(axis=1)
    return near


def with_other_looks(lots: Lots, which: np.ndarray) -> Lots:
    """The lots, with the next look that no lot here has for those in `which`."""
    look, prop = lots.look.copy(), lots.prop.copy()
    for lot in which.tolist():
        numbers, wanted, choices = (prop, lots.is_gap, PROPS) if lots.is_gap[lot] else (look, ~lots.is_gap, LOOKS)
        used = set(numbers[wanted].tolist())
        value = int(numbers[lot])
        for step in range(1, choices):
            if (value + step) % choices not in used:
                numbers[lot] = (value + step) % choices
                break
    return replace(lots, look=look, prop=prop)
