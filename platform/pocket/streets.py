"""A street as it looks at one time: its name, its words, and its columns, whether it is a circle or has no end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from longtake.platform.pocket.long_street import long_street
from longtake.platform.pocket.world import (
    COLUMNS,
    Drawing,
    check_words,
    draw,
    split_columns,
    street_name,
    with_new_looks,
)


@dataclass(frozen=True)
class Street:
    """`name`: what its lots are drawn from; `drawn_in`: the sky and material it was drawn in, where no two of its
    columns are alike; `sky`, `material`: how it looks now; `changed`: the lots that begin in these columns have been
    replaced."""

    name: str
    drawn_in: tuple[str, str]
    sky: str
    material: str
    long: bool = False
    changed: tuple[int, int] | None = None

    @property
    def unchanged(self) -> Street:
        return replace(self, changed=None)

    def drawing(self, stretch: int) -> Drawing:
        """96 columns; a circular street has stretch 0 only."""
        if self.long:
            return long_street(self.name, *self.drawn_in).stretch(stretch)
        before = draw(self.name)
        return before if self.changed is None else with_new_looks(before, f"{self.name}|changed", *self.changed)

    def picture(self, stretch: int) -> np.ndarray:
        """uint8 [32, 384, 3]."""
        return self.drawing(stretch).paint(self.sky, self.material)

    def columns(self, places_N: np.ndarray) -> np.ndarray:
        """uint8 [N, 384]: the pixels of places."""
        return by_stretch(places_N, lambda stretch: split_columns(self.picture(stretch)))


def street_of(sky: str, material: str, seed: int, long: bool = False) -> Street:
    """The street of a prompt's words. Raises ConfigError for unknown words."""
    check_words(sky, material)
    return Street(street_name(sky, material, seed), (sky, material), sky, material, long)


def by_stretch(places_N: np.ndarray, columns_of: Callable[[int], np.ndarray]) -> np.ndarray:
    """The row of each place, out of `columns_of(stretch)` [96, D]."""
    stretches, inside = np.divmod(places_N, COLUMNS)
    known = {number: columns_of(number) for number in np.unique(stretches).tolist()}
    return np.stack([known[number][row] for number, row in zip(stretches.tolist(), inside.tolist(), strict=True)])
