"""When the camera of a pocket video comes back to a place, and whether the place is still the same.

Reads the camera from the prompt and references from the video's own first views: the only truth of a street that a
model made up. With a given prefix the first views are real frames. Knows no file and draws nothing.

Legend: C columns of a view (8), D values of one 4x32 px column (384).
"""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Course:
    """The column of the view's left edge at each latent frame, not wrapped, on a street of so many columns."""

    camera_F: NDArray[np.int64]
    street_columns: int = COLUMNS


def course_of(take: Take) -> Course | None:
    """The camera of a take; None for a take that is not of the pocket world, and for
    one whose text changes, because a place looks different then."""
    if take.switches:
        return None
    try:
        prompt = parse(take.prompt)
        return Course(prompt.camera(take.latent_frames), prompt.world_columns)
    except ConfigError:
        return None


def visits(course: Course, count: int, one_way: bool = False) -> list[int]:
    """At most `count` latent frames that show the same view: its first one, then returns after all of it was out of
    sight, the last one included. Fewer than two frames: there is no return. `one_way`: only returns at which the camera
    moves as at the first view.

    Of all views, one that shares no column with the beginning of the video, which every window with a sink keeps; then
    the one with the most returns; then the longest absence; then the earliest.
    """

    def worth(frames: list[int]) -> tuple[bool, int, int, int]:
        is_away = distance(course, frames[0], 0) >= VIEW_COLUMNS
        return len(frames) > 1 and is_away, len(frames), absence(frames), -frames[0]

    best = max((visits_of(course, first) for first in first_frames(course)), key=worth, default=[])
    if one_way:
        best = [frame for frame in best if heading(course, frame) == heading(course, best[0])]
    if len(best) <= count:
        return best
    picks = np.linspace(0, len(best) - 1, count).round().astype(int)
    return [best[index] for index in picks]


def first_frames(course: Course) -> list[int]:
    """The first latent frame of every view."""
    return sorted(int(index) for index in np.unique(course.camera_F % course.street_columns, return_index=True)[1])


def visits_of(course: Course, first: int) -> list[int]:
    """The frame `first`, then each frame at which the same view is back after it was wholly out of sight."""
    frames, gone = [first], False
    for frame in range(first + 1, len(course.camera_F)):
        away = distance(course, frame, first)
        gone = gone or away >= VIEW_COLUMNS
        if gone and away == 0:
            frames.append(frame)
            gone = False
    return frames


def heading(course: Course, frame: int) -> int:
    """The step of the camera to a latent frame; to the second one for the first."""
    return int(course.camera_F[max(frame, 1)] - course.camera_F[max(frame, 1) - 1])


def distance(course: Course, one: int, other: int) -> int:
    """The columns between the views of two latent frames, the shorter way round a circular street."""
    shift = int(course.camera_F[one] - course.camera_F[other]) % course.street_columns
    return min(shift, course.street_columns - shift)


def absence(frames: list[int]) -> int:
    """The shortest time between two visits, in latent frames."""
    return min((after - before for before, after in pairwise(frames)), default=0)


class FirstViews:
    """The first view of every place in one video."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.columns: dict[int, NDArray[np.float64]] = {}

    def add(self, latent: int, frame_HWC: Pixels) -> None:
        """Mutates: keeps the columns of a frame whose places were not seen before. Frames come in order."""
        places = self.places(latent)
        if any(place not in self.columns for place in places):
            for place, column in zip(places, split(frame_HWC), strict=True):
                self.columns.setdefault(place, column)

    def recognised(self, latent: int, frame_HWC: Pixels) -> float:
        """The share of the frame's columns that are closer to the first view of their place than to that of any other
        place seen so far."""
        known = sorted(self.columns)
        references = np.stack([self.columns[place] for place in known])
        errors = np.square(split(frame_HWC)[:, None] - references[None]).sum(axis=2)
        return float((np.array(known)[errors.argmin(axis=1)] == self.places(latent)).mean())

    def places(self, latent: int) -> list[int]:
        columns = self.course.camera_F[latent] + np.arange(VIEW_COLUMNS)
        return [int(column) for column in columns % self.course.street_columns]


def split(frame_HWC: Pixels) -> NDArray[np.float64]:
    """[128, 128, 3] -> [C, D]: the mean of each block of 4x4 px, cut into columns."""
    small = frame_HWC.reshape(HEIGHT_PX, UPSCALE, VIEW_PX, UPSCALE, 3).mean(axis=(1, 3))
    columns = small.reshape(HEIGHT_PX, VIEW_COLUMNS, COLUMN_PX, 3).transpose(1, 0, 2, 3)
    return np.asarray(columns.reshape(VIEW_COLUMNS, -1))
