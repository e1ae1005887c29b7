"""What the camera of a take sees: where it is, which street it is on, and how each place truly looks.

A pure function of the texts, the seed and the number of frames. A text that takes over without a cut repaints the same
street in its words: the same houses in another light and in other colours. A cut leads to another street.

Legend: F latent frames, C columns of a view (8), N places, D values of one 4x32 px column (384).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from longtake.platform.errors import ConfigError
from longtake.platform.pocket import script
from longtake.platform.pocket.prompts import parse
from longtake.platform.pocket.streets import Street, street_of
from longtake.platform.pocket.world import COLUMNS, VIEW_COLUMNS
from longtake.platform.prompts import Switch

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Truth:
    """`camera_F`: the column of the view's left edge, not wrapped; `street_F`: the index in `streets` of the street as
    it looks at each frame."""

    camera_F: IntArray
    street_F: IntArray
    streets: tuple[Street, ...]

    @cached_property
    def columns_FC(self) -> IntArray:
        """The column of the street at each column of the view: 0..95 on a circle, any integer on a long street."""
        columns = self.camera_F[:, None] + np.arange(VIEW_COLUMNS)
        is_long = np.array([street.long for street in self.streets])[self.street_F]
        return np.where(is_long[:, None], columns, columns % COLUMNS)

    @cached_property
    def known(self) -> tuple[IntArray, ...]:
        """The columns of each street that count as places, ascending: all of a circle, those in view of a long one."""
        return tuple(
            np.unique(self.columns_FC[self.street_F == index]) if street.long else np.arange(COLUMNS)
            for index, street in enumerate(self.streets)
        )

    @cached_property
    def places_FC(self) -> IntArray:
        """The number of the place at each column of the view, 0..N-1. A place of a street that was repainted has a
        number for each look."""
        firsts = np.cumsum([0, *map(len, self.known)])
        places = np.zeros_like(self.columns_FC)
        for index, known in enumerate(self.known):
            here = self.street_F == index
            places[here] = firsts[index] + np.searchsorted(known, self.columns_FC[here])
        return places

    @property
    def places(self) -> int:
        """N."""
        return sum(map(len, self.known))

    @cached_property
    def seen_before_FC(self) -> NDArray[np.bool_]:
        """Whether the place at each column of the view was in view in an earlier frame."""
        first = np.full(self.places, len(self.camera_F))
        np.minimum.at(first, self.places_FC, np.arange(len(self.camera_F))[:, None])
        before: NDArray[np.bool_] = first[self.places_FC] < np.arange(len(self.camera_F))[:, None]
        return before

    @property
    def never_returns(self) -> bool:
        """Whether the street is long and every place stays in view from its first frame to its last."""
        frames = np.arange(len(self.camera_F))[:, None] + np.zeros(VIEW_COLUMNS, dtype=np.int64)
        first, last = np.full(self.places, len(frames)), np.full(self.places, -1)
        np.minimum.at(first, self.places_FC, frames)
        np.maximum.at(last, self.places_FC, frames)
        lengths = np.bincount(self.places_FC.ravel(), minlength=self.places)
        seen = lengths > 0
        all_long = all(street.long for street in self.streets)
        return all_long and bool((last - first + 1 == lengths)[seen].all())

    def look_of_places(self) -> NDArray[np.uint8]:
        """uint8 [N, D]: the true pixels of every place."""
        return np.concatenate([street.columns(known) for street, known in zip(self.streets, self.known, strict=True)])


def truth_of(prompt: str, switches: Sequence[Switch], seed: int, latent_frames: int) -> Truth:
    """Raises ConfigError for a text that is no pocket prompt, or that goes from a circle to a long street or back."""
    first = parse(prompt)
    shot = now = street_of(first.sky, first.material, seed, first.long)
    streets, cuts = [now], 0
    street_F = np.zeros(latent_frames, dtype=np.int64)
    for one in switches:
        text = parse(one.text)
        if one.cut:
            cuts += 1
            shot = street_of(text.sky, text.material, seed, text.long)
            shot = replace(shot, name=f"{shot.name}|cut {cuts}")
        elif text.long != shot.long:
            raise ConfigError(f"pocket prompt {one.text[:120]!r}: without a cut the street stays the same; {LONG_RULE}")
        now = replace(shot, sky=text.sky, material=text.material)
        if now not in streets:
            streets.append(now)
        street_F[one.frame :] = streets.index(now)
    return Truth(script.camera(prompt, switches, latent_frames), street_F, tuple(streets))


LONG_RULE = "write 'long' in both texts or in neither"
