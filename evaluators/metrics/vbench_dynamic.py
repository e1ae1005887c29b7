"""vbench/dynamic_degree: in how many clips does enough move? (RAFT between frames an eighth of a second apart.)

A clip is dynamic when enough of its pairs move. Pairs are looked at in order, until that is decided one way or the
other, and a frame's features serve both pairs that it is in: the answer is the same, the work is less.
"""

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

SAMPLES_PER_SECOND = 8
DIVISOR = 8
ITERATIONS = 20
FASTEST = 0.05


def step_of(fps: float) -> int:
    """Every how manieth frame is looked at; halves go to the even number."""
    return max(1, round(int(fps) / SAMPLES_PER_SECOND))


def pairs_needed(sampled: int, official: bool) -> int:
    """How many pairs of `sampled` frames must move. Official rounding asks for none of two frames."""
    needed = round(4 * (sampled / 16.0))
    return needed if official else max(1, needed)


def threshold_px(height: int, width: int) -> float:
    return 6.0 * (min(height, width) / 256.0)


class _Run(MetricRun):
    def __init__(self, model_pool: ModelPool, official: bool) -> None:
        self.model_pool, self.official = model_pool, official
        self.network = model_pool.network("raft")
        self.known: Known[float] = Known()
        self.last: tuple[int, Tensor] | None = None  # the features of the frame at this place of the view

    def clip(self, view: ClipView) -> float:
        step = step_of(view.fps)
        sampled = list(range(0, len(view), step))
        needed, left = pairs_needed(len(sampled), self.official), len(sampled) - 1
        if not left and self.official:
            return 0.0
        if not left:
            raise Unscorable("one sampled frame has no motion")
        limit, moving, self.last = threshold_px(*view.frames.shape[1:3]), 0, None
        for places in in_batches(sampled[:-1], self.model_pool.pairs(*view.frames.shape[1:3])):
            speeds = self.known.of(view, places, lambda missing: self.speeds(view, missing, step))
            moving += sum(speed > limit for speed in speeds)
            left -= len(places)
            if moving >= needed or moving + left < needed:
                break
        return float(moving >= needed)

    def speeds(self, view: ClipView, places: list[int], step: int) -> list[float]:
        """Mean length, in pixels, of the fastest 5 % of the flow from each place to the next sampled frame."""
        import torch

        from longtake.evaluators.vbench.pixels import pad_to, raw

        ends = [place + step for place in places]
        shown = list(dict.fromkeys([*places, *ends]))
        pixels = dict(zip(shown, pad_to(raw(self.model_pool.frames(view).at(shown)), DIVISOR)[0], strict=True))
        features = dict([self.last]) if self.last is not None else {}
        new = [place for place in shown if place not in features]
        with torch.inference_mode():
            found = self.network.features(torch.stack([pixels[place] for place in new]))
            features |= dict(zip(new, found, strict=True))
            flow = self.network.flow(
                torch.stack([features[place] for place in places]),
                torch.stack([features[place] for place in ends]),
                self.network.context(torch.stack([pixels[place] for place in places])),
                ITERATIONS,
            )
            self.last = ends[-1], features[ends[-1]]
            lengths = flow.float().square().sum(dim=1).sqrt().flatten(1)
            fastest = lengths.topk(int(lengths.shape[1] * FASTEST), dim=1).values
        return fastest.double().mean(dim=1).tolist()


@metrics.register("vbench/dynamic_degree")
class DynamicDegree(VBenchMetric):
    """1 for a clip of n sampled frames in which at least round(n / 4) pairs move faster than 6 min(H, W) / 256 pixels,
    else 0; of a video, the share of such clips (vbench.dynamic_degree)."""

    name = "dynamic_degree"
    unit = "share of clips"
    direction = "higher"
    still_value = 0.0
    compat = ("two-frames-dynamic",)

    def networks(self) -> Sequence[str]:
        return ("raft",)

    def open(self, ctx: VideoContext) -> MetricRun:
        return _Run(ctx.model_pool, self.settings.allows("two-frames-dynamic"))
