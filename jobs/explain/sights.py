"""Which places of the pocket world each latent frame of a take shows rightly, as `revisit_hit` judges it.

Judged before the video is encoded. A place that is seen for the first time is right by definition: later views are
compared with it.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np

from longtake.evaluators.revisit.walk import Columns, Walk, hits
from longtake.platform.pocket.truth import Truth


@dataclass(frozen=True)
class Seen:
    """Places that come back in the frames of a block, one for each column and frame: those shown rightly and those
    lost. `right`: per frame, every place that it shows rightly, first views included."""

    kept: set[tuple[int, int]]
    lost: set[tuple[int, int]]
    right: list[set[int]]


@dataclass
class Sights:
    """The sights of a video, block by block."""

    truth: Truth
    prefix_frames: int
    walk: Walk = field(init=False)
    right: list[set[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.places_FC = self.truth.as_shown(self.prefix_frames)
        self.walk = Walk(self.places_FC, self.truth.places, self.prefix_frames)

    def add(self, columns_n8D: Columns) -> Seen:
        """Judge the next frames. Mutates: they have been seen."""
        seen = judged(self.walk, self.places_FC, columns_n8D)
        self.right += seen.right
        return seen

    def look(self, columns_n8D: Columns) -> Seen:
        """Judge frames that might be the next ones."""
        return judged(deepcopy(self.walk), self.places_FC, columns_n8D)


def judged(walk: Walk, places_FC: np.ndarray, columns_n8D: Columns) -> Seen:
    """Mutates `walk`."""
    seen = Seen(set(), set(), [])
    for columns in columns_n8D:
        frame, before = walk.next_latent, walk.seen.copy()
        back = set(walk.step(columns).places.tolist())
        places = places_FC[frame]
        known = np.flatnonzero(walk.seen)
        _, is_hit = hits(columns, walk.first_sights[known], np.searchsorted(known, places))
        seen.right.append({int(p) for p, hit in zip(places, is_hit, strict=True) if hit or not before[p]})
        for place in back:
            (seen.kept if place in seen.right[-1] else seen.lost).add((frame, place))
    return seen
