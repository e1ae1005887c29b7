"""vbench/dynamic_degree: the share of clips with enough motion (RAFT between frames an eighth of a second apart).

A clip is dynamic if enough of its frame pairs move. Pairs are evaluated in order until the result is certain, and the
features of a frame are computed once for both of its pairs. Neither changes the result.
"""

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

SAMPLES_PER_SECOND = 8
DIVISOR = 8
ITERATIONS = 20
FASTEST = 0.05


def step_of(fps: float) -> int:
    """The distance between sampled frames; halves round to even."""
    return max(1, round(int(fps) / SAMPLES_PER_SECOND))


def pairs_needed(sampled: int, official: bool) -> int:
    """Number of pairs among `sampled` frames that must move. Official rounding gives 0 for two frames."""
    needed = round(4 * (sampled / 16.0))
    return needed if official else max(1, needed)


def threshold_px(height: int, width: int) -> float:
    return 6.0 * (min(height, width) / 256.0)


class _Run(MetricRun):
    def __init__(self, model_pool: ModelPool, official: bool) -> None:
        self.model_pool, self.official = model_pool, official
        self.network = model_pool.network("raft")
        self.cache: FrameCache[float] = FrameCache()
        self.last: tuple[int, Tensor] | None = None  # index of a frame in the view, and its features

    def clip(self, view: ClipView) -> float:
        step = step_of(view.fps)
        sampled = list(range(0, len(view), step))
        needed, left = pairs_needed(len(sampled), self.official), len(sampled) - 1
        if not left and self.official:
            return 0.0
        if not left:
            raise Unscorable("the clip has one sampled frame; motion needs 2")
        limit, moving, self.last = threshold_px(*view.frames.shape[1:3]), 0, None
        for starts in split_batches(sampled[:-1], self.model_pool.pairs(*view.frames.shape[1:3])):
            speeds = self.cache.of(view, starts, lambda missing: self.speeds(view, missing, step))
            moving += sum(speed > limit for speed in speeds)
            left -= len(starts)
            if moving >= needed or moving + left < needed:
                break
        return float(moving >= needed)

    def speeds(self, view: ClipView, starts: list[int], step: int) -> list[float]:
        """Mean length, in pixels, of the fastest 5 % of the flow from each frame to the next sampled one."""
        import torch

        from longtake.evaluators.vbench.pixels import pad_to, raw

        ends = [place + step for place in starts]
        indices = list(dict.fromkeys([*starts, *ends]))
        pixels = dict(zip(indices, pad_to(raw(self.model_pool.frames(view).at(indices)), DIVISOR)[0], strict=True))
        features = dict([self.last]) if self.last is not None else {}
        new = [place for place in indices if place not in features]
        with torch.inference_mode():
            new_features = self.network.features(torch.stack([pixels[place] for place in new]))
            features |= dict(zip(new, new_features, strict=True))
            flow = self.network.flow(
                torch.stack([features[place] for place in starts]),
                torch.stack([features[place] for place in ends]),
                self.network.context(torch.stack([pixels[place] for place in starts])),
                ITERATIONS,
            )
            self.last = ends[-1], features[ends[-1]]
            lengths = flow.float().square().sum(dim=1).sqrt().flatten(1)
            fastest = lengths.topk(int(lengths.shape[1] * FASTEST), dim=1).values
        return fastest.double().mean(dim=1).tolist()


@metrics.register("vbench/dynamic_degree")
class DynamicDegree(VBenchMetric):
    """1 for a clip of n sampled frames in which at least round(n / 4) pairs move faster than 6 min(H, W) / 256 pixels,
    else 0; for a video, the mean over its clips (vbench.dynamic_degree)."""

    name = "dynamic_degree"
    unit = "share of clips"
    bounds = (0.0, 1.0)
    direction = "higher"
    still_value = 0.0
    compat = ("two-frames-dynamic",)

    def networks(self) -> Sequence[str]:
        return ("raft",)

    def open(self, ctx: VideoContext) -> MetricRun:
        return _Run(ctx.model_pool, self.settings.allows("two-frames-dynamic"))
