"""vbench/imaging_quality: noise, blur, exposure and other distortions of single frames (MUSIQ trained on SPAQ)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from longtake.evaluators.base import MetricRun, VideoContext, metrics
from longtake.evaluators.vbench.metric import FrameRatings, VBenchMetric, run_over, split_batches

if TYPE_CHECKING:
    from longtake.evaluators.model_pool import ModelPool
    from longtake.evaluators.views import ClipView

HIGHEST = 100


class _Run(FrameRatings):
    highest = HIGHEST

    def __init__(self, model_pool: ModelPool) -> None:
        super().__init__(model_pool)
        self.network = model_pool.network("musiq")

    def scores(self, view: ClipView, missing: list[int]) -> list[float]:
        from longtake.evaluators.vbench import pixels

        frames = self.model_pool.frames(view)
        parts = (pixels.each(pixels.for_musiq, frames, part) for part in split_batches(missing, self.model_pool.batch))
        return [float(score) for score in run_over(self.network, parts)]


@metrics.register("vbench/imaging_quality")
class ImagingQuality(VBenchMetric):
    """Mean over frames of the predicted opinion score, 0 to 100, divided by 100 (vbench.imaging_quality)."""

    name = "imaging_quality"
    unit = "opinion score / 100"
    direction = "higher"

    def networks(self) -> Sequence[str]:
        return ("musiq",)

    def open(self, ctx: VideoContext) -> MetricRun:
        return _Run(ctx.model_pool)
