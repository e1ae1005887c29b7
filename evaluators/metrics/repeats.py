"""pocket_repeats: is what comes into view for the first time a copy of another place?

A memory can make a street look right and still be wrong, when it puts an old place on new ground. No four neighbouring
columns of a true street look like four others.
"""

from __future__ import annotations

import numpy as np

from longtake.evaluators.base import Metric, MetricRun, Unscorable, VideoContext, VideoValue, metrics
from longtake.evaluators.revisit.run import check_size, pocket_truth
from longtake.evaluators.revisit.walk import DIMS, VIDEO_FRAMES_PER_LATENT, Columns, columns_by_latent
from longtake.evaluators.views import ClipView
from longtake.platform.pocket.truth import Truth
from longtake.platform.pocket.world import VIEW_COLUMNS

RUN = 4
ALIKE = 100.0
"""Runs are alike below this mean squared error, 28 dB."""
NOTHING_NEW = "no place comes into view for the first time"


@metrics.register("pocket_repeats")
class PocketRepeats(Metric):
    """Share of the columns on new ground that, with the three beside them, look like four neighbouring columns that
    were seen before and are out of view."""

    name = "pocket_repeats"
    unit = "share"
    bounds = (0.0, 1.0)
    direction = "lower"
    needs_take = True
    deviations = (
        "Longtake's own metric, for pocket videos only. Latent frame i is video frame 4 i, averaged over 4x4 px. "
        "Copies that are mirrored, or shorter than four columns, do not count."
    )

    @classmethod
    def applies(cls, ctx: VideoContext) -> bool:
        """Only where a generated frame shows new ground."""
        try:
            truth = pocket_truth(ctx, latent_frames(ctx))
        except Unscorable:
            return True
        return any(is_new(truth, latent) for latent in range(max(1, ctx.prefix_frames), len(truth.camera_F)))

    def open(self, ctx: VideoContext) -> MetricRun:
        return RepeatsRun(ctx)


def latent_frames(ctx: VideoContext) -> int:
    return max(ctx.latent_frames or 0, 1 + ctx.num_frames // VIDEO_FRAMES_PER_LATENT)


def entering(truth: Truth, latent: int) -> slice:
    """The four columns of the view at the edge that the camera moves to."""
    moves_left = truth.camera_F[max(latent, 1)] < truth.camera_F[max(latent, 1) - 1]
    return slice(0, RUN) if moves_left else slice(VIEW_COLUMNS - RUN, VIEW_COLUMNS)


def is_new(truth: Truth, latent: int) -> bool:
    """Whether the outermost column of the entering ones was never in view."""
    seen = truth.seen_before_FC[latent, entering(truth, latent)]
    return not bool(seen.all())


class RepeatsRun(MetricRun):
    """Keeps every entering run of the video [R, 4 x 384] and its places [R, 4]."""

    def __init__(self, ctx: VideoContext) -> None:
        self._truth, self._given = pocket_truth(ctx, latent_frames(ctx)), ctx.prefix_frames
        check_size(ctx)
        self._next, self._repeats, self._total, self._kept = 0, 0, 0, 0
        new = sum(is_new(self._truth, latent) for latent in range(len(self._truth.camera_F)))
        self._runs = np.zeros((new, RUN * DIMS), dtype=np.float32)
        self._squares = np.zeros(new, dtype=np.float32)
        self._places = np.zeros((new, RUN), dtype=np.int64)

    def clip(self, view: ClipView) -> float:
        found = [
            self._step(latent, columns) for latent, columns in columns_by_latent(view).items() if latent == self._next
        ]
        scored = [one for one in found if one is not None]
        if not scored:
            raise Unscorable(NOTHING_NEW)
        self._repeats, self._total = self._repeats + sum(scored), self._total + len(scored)
        return sum(scored) / len(scored)

    def finish(self, clips: list[float | None]) -> VideoValue:
        """The share over all columns of new ground."""
        if not self._total:
            return VideoValue(None, clips, errors={"": NOTHING_NEW})
        return VideoValue(self._repeats / self._total, clips)

    def _step(self, latent: int, columns_8D: Columns) -> bool | None:
        """Whether new ground repeats what was seen; None without new ground, and in the prefix."""
        self._next = latent + 1
        where = entering(self._truth, latent)
        in_view = self._truth.places_FC[latent]
        if not is_new(self._truth, latent):
            return None
        run, kept = columns_8D[where].astype(np.float32).ravel() - 128, self._kept
        squares = np.square(run).sum()
        errors = (self._squares[:kept] + squares - 2 * self._runs[:kept] @ run) / len(run)
        gone = ~np.isin(self._places[:kept], in_view).any(axis=1)
        alike = bool((errors[gone] < ALIKE).any())
        self._runs[kept], self._squares[kept], self._places[kept] = run, squares, in_view[where]
        self._kept += 1
        return alike if latent >= max(1, self._given) else None
