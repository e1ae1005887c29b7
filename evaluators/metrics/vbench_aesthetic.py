"""vbench/aesthetic_quality: the predicted human rating of single frames (LAION's linear head on CLIP ViT-L/14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from longtake.evaluators.base import MetricRun, VideoContext, metrics
from longtake.evaluators.vbench.metric import FrameRatings, VBenchMetric, run_over

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.evaluators.model_pool import ModelPool
    from longtake.evaluators.views import ClipView

HIGHEST = 10


class _Run(FrameRatings):
    highest = HIGHEST

    def __init__(self, model_pool: ModelPool) -> None:
        super().__init__(model_pool)
        self.clip_network, self.head = model_pool.network("clip-l"), model_pool.network("aesthetic")

    def scores(self, view: ClipView, missing: list[int]) -> list[float]:
        from longtake.evaluators.vbench import pixels

        inputs = pixels.inputs_of(self.model_pool, view, missing, "clip", pixels.for_clip)
        return [float(score) for score in run_over(self.ratings, inputs.split(self.model_pool.batch))]

    def ratings(self, inputs: Tensor) -> Tensor:
        import torch.nn.functional as F

        return self.head(F.normalize(self.clip_network(inputs).float(), dim=-1))


@metrics.register("vbench/aesthetic_quality")
class AestheticQuality(VBenchMetric):
    """Mean over frames of the rating, 1 to 10, divided by 10 (vbench.aesthetic_quality)."""

    name = "aesthetic_quality"
    unit = "rating / 10"
    direction = "higher"

    def networks(self) -> Sequence[str]:
        return ("clip-l", "aesthetic")

    def open(self, ctx: VideoContext) -> MetricRun:
        return _Run(ctx.model_pool)
