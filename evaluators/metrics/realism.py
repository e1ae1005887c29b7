"""pocket_realism: could the world have drawn the columns that come into view?

Needs no reference in the video, so it also scores a street on which the camera never comes back to a place. A column
that mixes several houses, or none in particular, is far from everything that the world can draw.
"""

from __future__ import annotations

import math

import numpy as np

from longtake.evaluators.base import Metric, MetricRun, Unscorable, VideoContext, metrics
from longtake.evaluators.revisit.run import check_size, pocket_truth
from longtake.evaluators.revisit.walk import VIDEO_FRAMES_PER_LATENT, Columns, columns_by_latent
from longtake.evaluators.views import ClipView
from longtake.platform.pocket.drawable import Drawable, drawable
from longtake.platform.pocket.world import VIEW_COLUMNS

MAX_DB = 60.0
MIN_SQUARE = 255.0**2 / 10 ** (MAX_DB / 10)


@metrics.register("pocket_realism")
class PocketRealism(Metric):
    """Likeness of the columns that come into view to the nearest column that the world can draw: 10 log10(255^2 / MSE)
    over one column of each generated latent frame, the one at the edge that the camera moves to."""

    name = "pocket_realism"
    unit = "dB"
    bounds = (0.0, MAX_DB)
    direction = "higher"
    needs_take = True
    deviations = (
        "Longtake's own metric, for pocket videos only. Latent frame i is video frame 4 i, averaged over 4x4 px. It is "
        "read from the encoded video, so H.264 costs some PSNR; PSNR is pooled over a clip and capped at 60 dB."
    )

    def open(self, ctx: VideoContext) -> MetricRun:
        return RealismRun(ctx)


class RealismRun(MetricRun):
    def __init__(self, ctx: VideoContext) -> None:
        frames = max(ctx.latent_frames or 0, 1 + ctx.num_frames // VIDEO_FRAMES_PER_LATENT)
        self._truth, self._given = pocket_truth(ctx, frames), ctx.prefix_frames
        check_size(ctx)

    def clip(self, view: ClipView) -> float:
        columns = {latent: seen for latent, seen in columns_by_latent(view).items() if latent >= self._given}
        if not columns:
            raise Unscorable("all frames of the clip are given")
        streets: dict[int, list[Columns]] = {}
        for latent, seen in columns.items():
            streets.setdefault(int(self._truth.street_F[latent]), []).append(self._entering(latent, seen))
        squares = math.fsum(
            self._drawable(street).distances(np.concatenate(edges)).sum() for street, edges in streets.items()
        )
        return 10 * math.log10(255.0**2 / max(squares / len(columns), MIN_SQUARE))

    def _drawable(self, street: int) -> Drawable:
        look = self._truth.streets[street]
        return drawable(look.sky, look.material)

    def _entering(self, latent: int, columns_8D: Columns) -> Columns:
        """[1, 384]: the column at the edge that the camera moves to."""
        camera = self._truth.camera_F
        moves_left = camera[max(latent, 1)] < camera[max(latent, 1) - 1]
        return columns_8D[:1] if moves_left else columns_8D[VIEW_COLUMNS - 1 :]
