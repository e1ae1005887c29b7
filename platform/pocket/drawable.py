"""Every column that the world can draw in one sky and material, and how far a given column is from the nearest of them.

The nearest one is found over all houses (colour, height, windows, roof, edges), everything that stands in a gap, and
all heights of the hills; the tint of the sky is fitted. Hills and tint are level within a column, which in a street
they need not be: that and the latent code keep a true column from a distance of 0.

Legend: N drawable columns (29,760), K given columns, D values of a column (384), P pixels of a column (128).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from longtake.platform.pocket.world import (
    COLUMNS,
    HILL_PX,
    LOOKS,
    PROPS,
    ROOFS,
    TINTS,
    WIDTH_PX,
    Drawing,
    Lots,
    split_columns,
)

Columns = NDArray[np.float64]
MIDDLE = TINTS // 2
"""The tint that leaves a sky as it is."""


class Drawable:
    """The drawable columns in a sky and a material."""

    def __init__(self, sky: str, material: str) -> None:
        plain, tinted = (
            np.concatenate([split_columns(one.paint(sky, material)) for one in drawings(tint)])
            for tint in (MIDDLE, MIDDLE + 1)
        )
        self.columns_ND = plain.astype(np.float32) - 128
        is_sky = (tinted != plain).reshape(len(plain), -1, 3).any(axis=2)
        self.sky_NP = is_sky.astype(np.float32)
        self._squares = np.square(self.columns_ND).sum(axis=1)
        self._sky_sums = (self.columns_ND.reshape(len(plain), -1, 3).sum(axis=2) * self.sky_NP).sum(axis=1)
        self._sky_values = np.maximum(3 * self.sky_NP.sum(axis=1), 1)

    def distances(self, columns_KD: Columns) -> Columns:
        """float64 [K]: the mean squared error of each column (values 0..255) to the nearest drawable one."""
        given = columns_KD.astype(np.float32) - 128
        squares = np.square(given).sum(axis=1)[:, None] + self._squares - 2 * given @ self.columns_ND.T
        over = given.reshape(len(given), -1, 3).sum(axis=2) @ self.sky_NP.T - self._sky_sums
        tint = np.clip(over / self._sky_values, -MIDDLE, TINTS - 1 - MIDDLE)
        nearest = (squares - 2 * tint * over + np.square(tint) * self._sky_values).argmin(axis=1)
        drawn = self.columns_ND[nearest].astype(np.float64) + 128
        fitted = tint[np.arange(len(given)), nearest, None] * np.repeat(self.sky_NP[nearest], 3, axis=1)
        return np.asarray(np.square(columns_KD - np.clip(drawn + fitted, 0, 255)).mean(axis=1))


@lru_cache(maxsize=2)
def drawable(sky: str, material: str) -> Drawable:
    return Drawable(sky, material)


def drawings(tint: int) -> list[Drawing]:
    """Every house of three columns and of one, and everything that stands in a gap, before hills of every height."""
    made, pair = [], COLUMNS // 4
    houses = np.arange(LOOKS * ROOFS).reshape(-1, pair)
    for height in range(HILL_PX):
        backdrop = np.full(WIDTH_PX, tint), np.full(WIDTH_PX, height)
        made += [Drawing(row_of_houses(some), *backdrop) for some in houses]
        made.append(Drawing(row_of_props(), *backdrop))
    return made


def row_of_houses(numbers: NDArray[np.int64]) -> Lots:
    """24 houses, each once with three columns (left edge, middle, right edge) and once with one."""
    each = np.repeat(numbers, 2)
    ends = np.cumsum(np.tile([3, 1], len(numbers)))
    none = np.zeros(len(each), dtype=np.int64)
    return Lots(none.astype(bool), ends, each // ROOFS, none, each % ROOFS)


def row_of_props() -> Lots:
    """96 gaps with everything that can stand in one."""
    none = np.zeros(COLUMNS, dtype=np.int64)
    return Lots(np.ones(COLUMNS, dtype=bool), np.arange(1, COLUMNS + 1), none, np.arange(COLUMNS) % PROPS, none)
