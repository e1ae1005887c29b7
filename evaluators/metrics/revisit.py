"""revisit_psnr and revisit_hit: does a place look the same when the camera comes back to it?

Only for pocket videos, because their prompts define the camera path. A column that is visible again after it left the
view is compared with its first appearance in the video. The suffix `_true` compares with the ground-truth panorama, for
columns that first appear in the prefix. The suffix `_floor` is the same measure with references rolled by half.
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
    """ground_truth: compare with the panorama instead of the first appearance; rolled: the floor."""

    direction = "higher"
    deviations = (
        "Longtake's own metric, for pocket videos only (their model gets the camera's column as input; no Wan backbone "
        "does). Latent frame i is video frame 4 i, averaged over 4x4 px; single columns are compared. It is read from "
        "the encoded video, so H.264 costs some PSNR; PSNR is pooled over a clip and capped at 60 dB."
    )
    needs_take = True
    ground_truth: ClassVar[bool] = False
    rolled: ClassVar[bool] = False

    @classmethod
    def applies(cls, ctx: VideoContext) -> bool:
        """Only a take with a prefix shares places with the ground-truth panorama."""
        return not cls.ground_truth or ctx.prompt is None or ctx.prefix_frames > 0

    @staticmethod
    @abstractmethod
    def score(tally: Tally) -> float:
        """The score of a tally with at least one column."""

    def open(self, ctx: VideoContext) -> MetricRun:
        return RevisitRun(ctx, self.score, self.ground_truth, self.rolled)


@metrics.register("revisit_psnr")
class RevisitPsnr(Revisit):
    """Likeness of places to their first view when the camera returns: 10 log10(255^2 / MSE) over revisited columns."""

    name = "revisit_psnr"
    unit = "dB"
    bounds = (0.0, MAX_DB)

    @staticmethod
    def score(tally: Tally) -> float:
        return 10 * math.log10(255.0**2 / max(tally.squares / tally.columns, MIN_SQUARE))


@metrics.register("revisit_hit")
class RevisitHit(Revisit):
    """Share of revisited columns that are closer to the reference of their place than to that of any other place."""

    name = "revisit_hit"
    unit = "share"
    bounds = (0.0, 1.0)

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
    """`revisit_psnr` against the real frames of the prefix instead of the first view."""

    name = "revisit_psnr_true"
    ground_truth = True


@metrics.register("revisit_hit_true")
class RevisitHitTrue(RevisitHit):
    """`revisit_hit` against the real frames of the prefix instead of the first view."""

    name = "revisit_hit_true"
    ground_truth = True


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
