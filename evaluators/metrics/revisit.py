"""revisit_psnr and revisit_hit: does a place look the same when the camera comes back to it?

Pocket world only: its prompts say where the camera is. Every column that is seen again after it had left the view is
held against the first sight of its place in the same video; with the ending `_true`, against the true panorama, at
places whose first sight was given to the take. The ending `_floor` is the same sum against references rolled by half.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

from longtake.evaluators.base import Metric, MetricRun, VideoContext, metrics
from longtake.evaluators.revisit.run import RevisitRun
from longtake.evaluators.revisit.walk import Tally

MAX_DB = 60.0
MIN_SQUARE = 255.0**2 / 10 ** (MAX_DB / 10)


class Revisit(Metric):
    """truth: against the panorama, else the first sight; rolled: the floor."""

    direction = "higher"
    deviations = (
        "Longtake's own measure, for pocket videos alone (their model is told the camera's column, as no Wan backbone "
        "is). Latent frame i is video frame 4 i, 4x4 px averaged back to one, single columns compared; read from the "
        "encoded video, so H.264 costs some PSNR; PSNR is pooled over a clip and ends at 60 dB."
    )
    needs_take = True
    truth: ClassVar[bool] = False
    rolled: ClassVar[bool] = False

    @classmethod
    def applies(cls, ctx: VideoContext) -> bool:
        """Only a take with a given start shares places with the true panorama."""
        return not cls.truth or ctx.prompt is None or ctx.prefix_frames > 0

    @staticmethod
    @abstractmethod
    def score(tally: Tally) -> float:
        """The number of a tally that holds at least one column."""

    def open(self, ctx: VideoContext) -> MetricRun:
        return RevisitRun(ctx, self.score, self.truth, self.rolled)


@metrics.register("revisit_psnr")
class RevisitPsnr(Revisit):
    """10 log10(255^2 / MSE) over revisited columns."""

    name = "revisit_psnr"
    unit = "dB"

    @staticmethod
    def score(tally: Tally) -> float:
        return 10 * math.log10(255.0**2 / max(tally.squares / tally.columns, MIN_SQUARE))


@metrics.register("revisit_hit")
class RevisitHit(Revisit):
    """Share of revisited columns that are closer to their own place's reference than to any other place's."""

    name = "revisit_hit"
    unit = "share"

    @staticmethod
    def score(tally: Tally) -> float:
        return tally.hits / tally.columns


@metrics.register("revisit_psnr_floor")
class RevisitPsnrFloor(RevisitPsnr):
    name = "revisit_psnr_floor"
    floor_of = "revisit_psnr"
    ranked = False
    rolled = True


@metrics.register("revisit_hit_floor")
class RevisitHitFloor(RevisitHit):
    name = "revisit_hit_floor"
    floor_of = "revisit_hit"
    ranked = False
    rolled = True


@metrics.register("revisit_psnr_true")
class RevisitPsnrTrue(RevisitPsnr):
    name = "revisit_psnr_true"
    truth = True


@metrics.register("revisit_hit_true")
class RevisitHitTrue(RevisitHit):
    name = "revisit_hit_true"
    truth = True


@metrics.register("revisit_psnr_true_floor")
class RevisitPsnrTrueFloor(RevisitPsnrTrue):
    name = "revisit_psnr_true_floor"
    floor_of = "revisit_psnr_true"
    ranked = False
    rolled = True


@metrics.register("revisit_hit_true_floor")
class RevisitHitTrueFloor(RevisitHitTrue):
    name = "revisit_hit_true_floor"
    floor_of = "revisit_hit_true"
    ranked = False
    rolled = True
