"""vbench/motion_smoothness: how well does AMT-S predict every other frame from its neighbours?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from longtake.evaluators.base import MetricRun, Unscorable, VideoContext, metrics
from longtake.evaluators.vbench.frame_cache import FrameCache
from longtake.evaluators.vbench.metric import VBenchMetric, split_batches

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.evaluators.model_pool import ModelPool
    from longtake.evaluators.views import ClipView

DIVISOR = 16


class _Run(MetricRun):
    def __init__(self, model_pool: ModelPool) -> None:
        self.model_pool = model_pool
        self.network = model_pool.network("amt")
        self.cache: FrameCache[float] = FrameCache()

    def clip(self, view: ClipView) -> float:
        even = range(0, len(view) - 2, 2)
        if not even:
            raise Unscorable(f"the clip has {len(view)} frames; motion smoothness needs 3")
        errors = self.cache.of(view, even, lambda missing: self.errors(view, missing))
        return (255.0 - sum(errors) / len(errors)) / 255.0

    def errors(self, view: ClipView, missing: list[int]) -> list[float]:
        """Mean absolute difference, in levels, of the frame after each of `missing` and its prediction."""
        import torch

        frames, sums = self.model_pool.frames(view), []
        for starts in split_batches(missing, self.model_pool.pairs(*view.frames.shape[1:3])):
            before, middle, after = (frames.at([place + step for place in starts]) for step in range(3))
            sums.append(differences(self.between(before, after), middle))
        return [total / view.frames[0].size for total in torch.cat(sums).tolist()]

    def between(self, before: Tensor, after: Tensor) -> Tensor:
        """uint8 [n, H, W, 3]: the interpolated frame; levels are truncated, not rounded."""
        import torch

        from longtake.evaluators.vbench.pixels import pad_to, raw

        (first, place), (last, _) = (pad_to(raw(frames) / 255.0, DIVISOR) for frames in (before, after))
        with torch.inference_mode():
            predicted = self.network(first, last)
            levels = (predicted[..., place[0], place[1]].float() * 255.0).clamp(0, 255).to(torch.uint8)
        return levels.permute(0, 2, 3, 1)


def differences(one: Tensor, other: Tensor) -> Tensor:
    """int64 [n]: the sum of absolute differences of each pair of uint8 frames, exact in integer arithmetic."""
    import torch

    return (torch.maximum(one, other) - torch.minimum(one, other)).sum(dim=(1, 2, 3), dtype=torch.int64)


@metrics.register("vbench/motion_smoothness")
class MotionSmoothness(VBenchMetric):
    """(255 - mean |odd frame - its prediction|) / 255; with an even count the last odd frame is not used
    (vbench.motion_smoothness)."""

    name = "motion_smoothness"
    unit = "0..1"
    bounds = (0.0, 1.0)
    direction = "higher"

    def networks(self) -> Sequence[str]:
        return ("amt",)

    def open(self, ctx: VideoContext) -> MetricRun:
        return _Run(ctx.model_pool)
