"""vbench/motion_smoothness: can every other frame be told from its neighbours? (AMT-S interpolates between them.)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from longtake.evaluators.base import MetricRun, Unscorable, VideoContext, metrics
from longtake.evaluators.vbench.known import Known
from longtake.evaluators.vbench.metric import VBenchMetric, in_batches

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.evaluators.model_pool import ModelPool
    from longtake.evaluators.views import ClipView

DIVISOR = 16


class _Run(MetricRun):
    def __init__(self, model_pool: ModelPool) -> None:
        self.model_pool = model_pool
        self.network = model_pool.network("amt")
        self.known: Known[float] = Known()

    def clip(self, view: ClipView) -> float:
        even = range(0, len(view) - 2, 2)
        if not even:
            raise Unscorable(f"{len(view)} frames; a frame between two others needs 3")
        errors = self.known.of(view, even, lambda missing: self.errors(view, missing))
        return (255.0 - sum(errors) / len(errors)) / 255.0

    def errors(self, view: ClipView, missing: list[int]) -> list[float]:
        """Mean absolute difference, in levels, of the frame after each place and what its neighbours foretell."""
        import torch

        frames, sums = self.model_pool.frames(view), []
        for places in in_batches(missing, self.model_pool.pairs(*view.frames.shape[1:3])):
            before, truth, after = (frames.at([place + step for place in places]) for step in range(3))
            sums.append(differences(self.between(before, after), truth))
        return [total / view.frames[0].size for total in torch.cat(sums).tolist()]

    def between(self, before: Tensor, after: Tensor) -> Tensor:
        """uint8 [n, H, W, 3]: what lies half way; cut, not rounded, to whole levels."""
        import torch

        from longtake.evaluators.vbench.pixels import pad_to, raw

        (first, place), (last, _) = (pad_to(raw(frames) / 255.0, DIVISOR) for frames in (before, after))
        with torch.inference_mode():
            found = self.network(first, last)
            levels = (found[..., place[0], place[1]].float() * 255.0).clamp(0, 255).to(torch.uint8)
        return levels.permute(0, 2, 3, 1)


def differences(one: Tensor, other: Tensor) -> Tensor:
    """int64 [n]: the sum of absolute differences of each pair of uint8 frames. Integer arithmetic, so it is exact."""
    import torch

    return (torch.maximum(one, other) - torch.minimum(one, other)).sum(dim=(1, 2, 3), dtype=torch.int64)


@metrics.register("vbench/motion_smoothness")
class MotionSmoothness(VBenchMetric):
    """(255 - mean |odd frame - its prediction|) / 255; with an even count the last odd frame is not used
    (vbench.motion_smoothness)."""

    name = "motion_smoothness"
    unit = "0..1"
    direction = "higher"

    def networks(self) -> Sequence[str]:
        return ("amt",)

    def open(self, ctx: VideoContext) -> MetricRun:
        return _Run(ctx.model_pool)
