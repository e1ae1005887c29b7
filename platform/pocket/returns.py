"""When the camera of a pocket video comes back to a place, and whether the place is still the same.

Reads the camera from the prompt and references from the video's own first views: the only truth of a street that a
model made up. With a given prefix the first views are real frames. Knows no file and draws nothing.

Legend: C columns of a view (8), D values of one 4x32 px column (384).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from longtake.platform.errors import ConfigError
from longtake.platform.pocket.latent_code import UPSCALE
from longtake.platform.pocket.prompts import parse
from longtake.platform.pocket.world import COLUMN_PX, COLUMNS, HEIGHT_PX, VIEW_COLUMNS, VIEW_PX
from longtake.platform.takes import Take

SIZE_PX = VIEW_PX * UPSCALE
"""Height and width of a pocket video."""
Pixels = NDArray[np.uint8]


def camera_of(take: Take) -> NDArray[np.int64] | None:
    """The column of the view's left edge at each latent frame; None for a take that is not of the pocket world, and for
    one whose text changes, because a place looks different then."""
    if take.switches:
        return None
    try:
        return parse(take.prompt).camera(take.latent_frames)
    except ConfigError:
        return None


def visits(camera_F: NDArray[np.int64], count: int, one_way: bool = False) -> list[int]:
    """At most `count` latent frames that show the same view: its first one, then returns after all of it was out of
    sight, the last one included. Fewer than two frames: there is no return. `one_way`: only returns at which the camera
    moves as at the first view.

    Of all views, one that shares no column with the beginning of the video, which every window with a sink keeps; then
    the one with the most returns; then the longest absence; then the earliest.
    """

    def worth(frames: list[int]) -> tuple[bool, int, int, int]:
        is_away = distance(camera_F, frames[0], 0) >= VIEW_COLUMNS
        return len(frames) > 1 and is_away, len(frames), absence(frames), -frames[0]

    best = max((visits_of(camera_F, first) for first in first_frames(camera_F)), key=worth, default=[])
    if one_way:
        best = [frame for frame in best if heading(camera_F, frame) == heading(camera_F, best[0])]
    if len(best) <= count:
        return best
    picks = np.linspace(0, len(best) - 1, count).round().astype(int)
    return [best[index] for index in picks]


def first_frames(camera_F: NDArray[np.int64]) -> list[int]:
    """The first latent frame of every view."""
    return sorted(int(index) for index in np.unique(camera_F % COLUMNS, return_index=True)[1])


def visits_of(camera_F: NDArray[np.int64], first: int) -> list[int]:
    """The frame `first`, then each frame at which the same view is back after it was wholly out of sight."""
    frames, gone = [first], False
    for frame in range(first + 1, len(camera_F)):
        away = distance(camera_F, frame, first)
        gone = gone or away >= VIEW_COLUMNS
        if gone and away == 0:
            frames.append(frame)
            gone = False
    return frames


def heading(camera_F: NDArray[np.int64], frame: int) -> int:
    """The step of the camera to a latent frame; to the second one for the first."""
    return int(camera_F[max(frame, 1)] - camera_F[max(frame, 1) - 1])


def distance(camera_F: NDArray[np.int64], one: int, other: int) -> int:
    """The columns between the views of two latent frames, along the circular street."""
    shift = int(camera_F[one] - camera_F[other]) % COLUMNS
    return min(shift, COLUMNS - shift)


def absence(frames: list[int]) -> int:
    """The shortest time between two visits, in latent frames."""
    return min((after - before for before, after in pairwise(frames)), default=0)


class FirstViews:
    """The first view of every place in one video."""

    def __init__(self, camera_F: NDArray[np.int64]) -> None:
        self.camera = camera_F
        self.seen = np.zeros(COLUMNS, dtype=bool)
        self.columns = np.zeros((COLUMNS, HEIGHT_PX * COLUMN_PX * 3))

    def add(self, latent: int, frame_HWC: Pixels) -> None:
        """Mutates: keeps the columns of a frame whose places were not seen before. Frames come in order."""
        places = self.places(latent)
        new = ~self.seen[places]
        if new.any():
            self.columns[places[new]] = split(frame_HWC)[new]
            self.seen[places] = True

    def recognised(self, latent: int, frame_HWC: Pixels) -> float:
        """The share of the frame's columns that are closer to the first view of their place than to that of any other
        place seen so far."""
        known = np.flatnonzero(self.seen)
        errors = np.square(split(frame_HWC)[:, None] - self.columns[known][None]).sum(axis=2)
        return float((known[errors.argmin(axis=1)] == self.places(latent)).mean())

    def places(self, latent: int) -> NDArray[np.int64]:
        return (self.camera[latent] + np.arange(VIEW_COLUMNS)) % COLUMNS


def split(frame_HWC: Pixels) -> NDArray[np.float64]:
    """[128, 128, 3] -> [C, D]: the mean of each block of 4x4 px, cut into columns."""
    small = frame_HWC.reshape(HEIGHT_PX, UPSCALE, VIEW_PX, UPSCALE, 3).mean(axis=(1, 3))
    columns = small.reshape(HEIGHT_PX, VIEW_COLUMNS, COLUMN_PX, 3).transpose(1, 0, 2, 3)
    return np.asarray(columns.reshape(VIEW_COLUMNS, -1))
