"""vbench/aesthetic_quality: how people would rate the frames as pictures (LAION's linear head on CLIP ViT-L/14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from longtake.evaluators.base import MetricRun, VideoContext, metrics
from longtake.evaluators.vbench.known import Known
from longtake.evaluators.vbench.metric import VBenchMetric, run_over

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.evaluators.equipment import Equipment
    from longtake.evaluators.views import ClipView

HIGHEST = 10


class _Run(MetricRun):
    def __init__(self, equipment: Equipment) -> None:
        self.equipment = equipment
        self.clip_network, self.head = equipment.network("clip-l"), equipment.network("aesthetic")
        self.known: Known[float] = Known()

    def clip(self, view: ClipView) -> float:
        scores = self.known.of(view, range(len(view)), lambda missing: self.scores(view, missing))
        return sum(scores) / len(scores) / HIGHEST

    def scores(self, view: ClipView, missing: list[int]) -> list[float]:
        from longtake.evaluators.vbench import pixels

        inputs = pixels.inputs_of(view, missing, "clip", pixels.for_clip)
        found = run_over(self.rated, inputs, self.equipment.batch, self.equipment.device)
        return [float(score) for score in found]

    def rated(self, inputs: Tensor) -> Tensor:
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
        return _Run(ctx.equipment)
