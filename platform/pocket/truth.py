"""What the camera of a take sees: where it is, which street it is on, and how each place truly looks.

A pure function of the texts, the seed and the number of frames. A text that takes over without a cut repaints the same
street in its words: the same houses in another light and in other colours. A cut leads to another street. A change
replaces some houses while they are out of view.

Legend: F latent frames, C columns of a view (8), N places, D values of one 4x32 px column (384).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from longtake.platform.pocket import script
from longtake.platform.pocket.prompts import parse
from longtake.platform.pocket.streets import Street, street_of
from longtake.platform.pocket.world import COLUMNS, VIEW_COLUMNS, split_columns
from longtake.platform.prompts import Switch

IntArray = NDArray[np.int64]


def columns_of(street: Street) -> NDArray[np.uint8]:
    """uint8 [96, D]: a circular street."""
    return split_columns(street.picture(0))


@dataclass(frozen=True)
class Truth:
    """`camera_F`: the column of its street at the view's left edge, not wrapped; `street_F`: the index in `streets` of
    the street as it looks at each frame."""

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
        """The columns of each street that are places of their own, ascending: all of a circle, those in view of a long
        street, and of a street that changed those that look different."""
        return tuple(self._places_of(index, street) for index, street in enumerate(self.streets))

    def _places_of(self, index: int, street: Street) -> IntArray:
        if street.changed is not None:
            return np.flatnonzero((columns_of(street) != columns_of(street.unchanged)).any(axis=1))
        return np.unique(self.columns_FC[self.street_F == index]) if street.long else np.arange(COLUMNS)

    @cached_property
    def places_FC(self) -> IntArray:
        """The number of the place at each column of the view, 0..N-1. A place that looks different later has a number
        for each look."""
        places = np.zeros_like(self.columns_FC)
        for index, street in enumerate(self.streets):
            here = self.street_F == index
            columns = self.columns_FC[here]
            if street.changed is None:
                places[here] = self._firsts[index] + np.searchsorted(self.known[index], columns)
            else:
                places[here] = np.where(
                    np.isin(columns, self.known[index]),
                    self._firsts[index] + np.searchsorted(self.known[index], columns),
                    self._firsts[self.streets.index(street.unchanged)] + columns,
                )
        return places

    @cached_property
    def _firsts(self) -> IntArray:
        """The number of the first place of each street."""
        return np.cumsum([0, *map(len, self.known)])

    @cached_property
    def versions(self) -> tuple[IntArray, IntArray]:
        """The numbers of the places that change, and, in the same order, their numbers afterwards."""
        before, after = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        for index, street in enumerate(self.streets):
            if street.changed is not None:
                before.append(self._firsts[self.streets.index(street.unchanged)] + self.known[index])
                after.append(self._firsts[index] + np.arange(len(self.known[index])))
        return np.concatenate(before), np.concatenate(after)

    def as_shown(self, prefix_frames: int) -> IntArray:
        """int64 [F, C]: `places_FC`, where after the prefix each place that changes has the number of its newest look
        in the prefix. A generator cannot know of a change that it was not shown."""
        before, after = self.versions
        was_shown = np.isin(after, self.places_FC[:prefix_frames])
        renamed = np.arange(self.places)
        renamed[after[~was_shown]] = before[~was_shown]
        renamed[before[was_shown]] = after[was_shown]
        return np.concatenate([self.places_FC[:prefix_frames], renamed[self.places_FC[prefix_frames:]]])

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
    """Raises ConfigError for texts that are no pocket prompts or cannot follow one another."""
    camera_F = script.camera(prompt, switches, latent_frames)
    first = parse(prompt)
    shot = now = street_of(first.sky, first.material, seed, first.long)
    streets, cuts = [now], 0
    street_F = np.zeros(latent_frames, dtype=np.int64)
    if first.change is not None:
        streets.append(replace(now, changed=(first.change.first, first.change.last)))
        street_F[first.change.frame :] = 1
    for one in switches:
        text = parse(one.text)
        if one.cut:
            cuts += 1
            shot = street_of(text.sky, text.material, seed, text.long)
            shot = replace(shot, name=f"{shot.name}|cut {cuts}")
            camera_F[one.frame :] -= script.FAR
        now = replace(shot, sky=text.sky, material=text.material)
        if now not in streets:
            streets.append(now)
        street_F[one.frame :] = streets.index(now)
    return Truth(camera_F, street_F, tuple(streets))
