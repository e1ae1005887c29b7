"""Tracks which columns of the pocket world a video shows again, and compares them with their references.

Owns the state of the places of one video. Reads what is in view from the prompt, never from the pixels.
Memory is one reference per place, whatever the length of the video.

Legend: F latent frames, C columns of a view (8), N places, K seen columns, R reference columns,
D 384 values of one 4x32 px column.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from longtake.evaluators.views import ClipView
from longtake.platform.pocket.latent_code import UPSCALE
from longtake.platform.pocket.world import COLUMN_PX, HEIGHT_PX, VIEW_PX

VIDEO_FRAMES_PER_LATENT = 4
DIMS = HEIGHT_PX * COLUMN_PX * 3
Columns = NDArray[np.float64]

_columns_of_view: WeakKeyDictionary[ClipView, dict[int, Columns]] = WeakKeyDictionary()


def columns_by_latent(view: ClipView) -> dict[int, Columns]:
    """Latent frame -> float64 [8, 384] in 0..255; computed once per view for all metrics."""
    if view not in _columns_of_view:
        first = -(-view.start_frame // VIDEO_FRAMES_PER_LATENT) * VIDEO_FRAMES_PER_LATENT
        frames = range(first, view.start_frame + len(view), VIDEO_FRAMES_PER_LATENT)
        _columns_of_view[view] = {
            frame // VIDEO_FRAMES_PER_LATENT: split_columns(shrink(view.frames[frame - view.start_frame]))
            for frame in frames
        }
    return _columns_of_view[view]


def shrink(frame_HWC: NDArray[np.uint8]) -> Columns:
    """Reduce 128x128 to 32x32: the mean of each block of 4x4 px."""
    blocks = frame_HWC.reshape(HEIGHT_PX, UPSCALE, VIEW_PX, UPSCALE, 3)
    return blocks.sum(axis=(1, 3), dtype=np.int64) / UPSCALE**2


def split_columns(picture_HWC: NDArray[np.generic]) -> Columns:
    """[32, 4 n, 3] -> float64 [n, 384]."""
    count = picture_HWC.shape[1] // COLUMN_PX
    columns = picture_HWC.reshape(HEIGHT_PX, count, COLUMN_PX, 3).transpose(1, 0, 2, 3)
    return columns.reshape(count, DIMS).astype(np.float64)


@dataclass(frozen=True)
class Sighting:
    """Revisited columns of one latent frame: their places [K] and pixels [K, D]."""

    places: NDArray[np.int64]
    columns: Columns

    def only(self, mask_N: NDArray[np.bool_]) -> Sighting:
        keep = mask_N[self.places]
        return Sighting(self.places[keep], self.columns[keep])


class Walk:
    """State of the places of one video. A place is revisited while it is visible again after it left the view.
    `places_FC`: the numbers of the places in view, from 0, below `places`."""

    def __init__(self, places_FC: NDArray[np.int64], places: int, prefix_frames: int) -> None:
        self._places_FC, self._start_frames = places_FC, prefix_frames
        self.next_latent = 0
        self.first_sights = np.zeros((places, DIMS))
        self.seen = np.zeros(places, dtype=bool)
        self.given = np.zeros(places, dtype=bool)  # first seen in the prefix, so its reference is the ground truth
        self._visible = np.zeros(places, dtype=bool)
        self._again = np.zeros(places, dtype=bool)

    def step(self, columns_8D: Columns) -> Sighting:
        """Mutates: adds the next latent frame. Prefix frames set references but are never a revisit."""
        index, self.next_latent = self.next_latent, self.next_latent + 1
        places = self._places_FC[index]
        again = np.where(self._visible[places], self._again[places], self.seen[places])
        new = ~self.seen[places]
        self.first_sights[places[new]] = columns_8D[new]
        self.given[places[new]] = index < self._start_frames
        self.seen[places] = True
        self._visible[:] = False
        self._visible[places] = True
        self._again[places] = again
        if index < self._start_frames:
            again = np.zeros_like(again)
        return Sighting(places[again], columns_8D[again])


@dataclass
class Tally:
    """Sums over compared columns, which add up over frames, clips and segments."""

    columns: int = 0
    hits: int = 0
    squares: float = 0.0  # sum over columns of the mean squared error

    def add(self, other: Tally) -> None:
        self.columns += other.columns
        self.hits += other.hits
        self.squares += other.squares


def compare(sighting: Sighting, references_RD: Columns, places_R: NDArray[np.int64], rolled: bool) -> Tally:
    """Compare each column with the reference of its place; `rolled`: with that of the place half the list further on.

    `places_R`: the places of the references, ascending.
    """
    targets = np.searchsorted(places_R, sighting.places)
    if rolled:
        targets = (targets + len(places_R) // 2) % len(places_R)
    own, is_hit = hits(sighting.columns, references_RD, targets)
    return Tally(len(targets), int(is_hit.sum()), float(own.sum()))


def hits(
    columns_KD: Columns, references_RD: Columns, targets_K: NDArray[np.int64]
) -> tuple[Columns, NDArray[np.bool_]]:
    """[K] each: the mean squared error of a column to its reference, and whether it is closer to it than to all others.
    `targets_K`: the row of each column's reference."""
    errors = mean_squares(columns_KD, references_RD)
    row = np.arange(len(targets_K))
    own = errors[row, targets_K]
    errors[row, targets_K] = np.inf
    return own, own < errors.min(axis=1)


def mean_squares(columns_KD: Columns, references_RD: Columns) -> Columns:
    """[K, R]. Values are multiples of 1/16, so |a|^2 - 2 ab + |b|^2 is exact in float64 and equal on all machines."""
    column_norms = np.square(columns_KD).sum(axis=1)[:, None]
    reference_norms = np.square(references_RD).sum(axis=1)[None]
    return np.asarray((column_norms + reference_norms - 2 * columns_KD @ references_RD.T) / DIMS)
