"""vbench/subject_consistency and vbench/background_consistency: does the picture keep its content?

Within a clip, each frame is compared with its predecessor and with the first frame, by DINO (subject) or CLIP
(background). The first frames of the clips are compared in the same way (clip_to_clip), and VBench-Long's table maps
that score to the in-clip scale (mapped). `long_range` compares them by DINOv2 or DreamSim and averages the two scores.
Without it, the networks are those within a clip and the clip-to-clip score is only recorded, so that drift slower than
2 s has no effect.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from longtake.evaluators.base import MetricRun, Unscorable, VideoContext, VideoValue, mean_of, metrics
from longtake.evaluators.vbench.export import CLIP_TO_CLIP, MAPPED
from longtake.evaluators.vbench.frame_cache import FrameCache
from longtake.evaluators.vbench.metric import VBenchMetric, run_over
from longtake.evaluators.vbench.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.evaluators.model_pool import ModelPool
    from longtake.evaluators.vbench.exact import Encoder
    from longtake.evaluators.views import ClipView, Frames

IN_CLIP = "in_clip"


@dataclass(frozen=True)
class Extractors:
    """The networks of a dimension and their preprocessing, in a clip and between clips."""

    dimension: str
    network: str
    prepare: Callable[[Tensor], Tensor]
    product: str
    between: str
    prepare_between: Callable[[Tensor, bool], Tensor]

    def short_range(self) -> Extractors:
        """With the network of a clip between clips too, as in official code without --dev_flag."""
        return replace(self, between=self.network, prepare_between=lambda frames, antialias: self.prepare(frames))


class _Run(MetricRun):
    def __init__(self, extractors: Extractors, settings: Settings, model_pool: ModelPool) -> None:
        self.extractors, self.settings, self.model_pool = extractors, settings, model_pool
        self.network = model_pool.network(extractors.network)
        used = extractors if settings.long_range else extractors.short_range()
        self.first_frames = FirstFrames(used, settings, model_pool)
        self.cache: FrameCache[Tensor] = FrameCache()

    def clip(self, view: ClipView) -> float:
        import torch

        from longtake.evaluators.vbench.consistency import consistency

        features = self.cache.of(view, range(len(view)), lambda missing: self.features(view, missing))
        if not view.overlaps or self.settings.allows("overlapping-clip"):
            self.first_frames.add(view, None if self.settings.long_range else features[0])
        if len(view) < 2:
            raise Unscorable("the clip has one frame; consistency needs 2")
        return consistency(torch.stack(features))

    def features(self, view: ClipView, missing: list[int]) -> list[Tensor]:
        from longtake.evaluators.vbench.pixels import inputs_of

        inputs = inputs_of(self.model_pool, view, missing, self.extractors.product, self.extractors.prepare)
        return run_over(self.network, inputs.split(self.model_pool.batch))

    def finish(self, clips: list[float | None]) -> VideoValue:
        from longtake.evaluators.vbench.consistency import mapped

        in_clip = mean_of(clips)
        if in_clip is None:
            return VideoValue(None, clips)
        between = self.first_frames.score()
        scaled = None if between is None else mapped(between, self.extractors.dimension)
        extra = {CLIP_TO_CLIP: between, MAPPED: scaled}
        if self.settings.long_range:
            return self.fused(in_clip, clips, {IN_CLIP: in_clip, **extra})
        reasons = {} if between is not None else dict.fromkeys(extra, "needs two clips of 2 s without overlap")
        return VideoValue(in_clip, clips, extra, reasons)

    def fused(self, in_clip: float, clips: list[float | None], extra: dict[str, float | None]) -> VideoValue:
        from longtake.evaluators.vbench.consistency import fused

        scaled, alone = extra[MAPPED], self.settings.allows("missing-clip-to-clip")
        if scaled is None:
            why = "clip_to_clip needs two clips of 2 s without overlap; the in-clip score is kept as in_clip"
            reasons = dict.fromkeys((CLIP_TO_CLIP, MAPPED), why) | ({} if alone else {"": why})
            return VideoValue(in_clip if alone else None, clips, extra, reasons)
        value = in_clip if alone and scaled == 0 else fused(in_clip, scaled)
        return VideoValue(value, clips, extra)


class FirstFrames:
    """Features of the clips' first frames; like official code, the exact protocol first encodes them as a video."""

    def __init__(self, extractors: Extractors, settings: Settings, model_pool: ModelPool) -> None:
        self.extractors, self.settings, self.model_pool = extractors, settings, model_pool
        self.network = model_pool.network(extractors.between)
        self.features: list[Tensor] = []
        self.encoder: Encoder | None = None
        self.clips = 0

    def add(self, view: ClipView, feature: Tensor | None = None) -> None:
        """`feature`: that of the clip's first frame, if its network has computed it already."""
        from longtake.evaluators.vbench.exact import Encoder

        self.clips += 1
        if self.settings.protocol != "exact":
            self.features += self.extract(view.frames[:1]) if feature is None else [feature.clone()]
            return
        self.encoder = self.encoder or Encoder(int(view.fps))
        self.encoder.add(view.frames[0])

    def extract(self, frames: Frames) -> list[Tensor]:
        import torch

        moved = torch.tensor(frames).to(self.model_pool.device)
        inputs = self.extractors.prepare_between(moved, self.settings.antialias)
        return run_over(self.network, inputs.split(self.model_pool.batch))

    def score(self) -> float | None:
        """None for fewer than two clips."""
        import torch

        from longtake.evaluators.vbench.consistency import consistency, official_order

        if self.clips < 2:
            return None
        if self.encoder is not None:
            parts = self.encoder.decoded(self.model_pool.batch)
            self.features = [feature for part in parts for feature in self.extract(part)]
        order = official_order(self.clips) if self.settings.allows("clip-order") else range(self.clips)
        return consistency(torch.stack([self.features[index] for index in order]))


class _Consistency(VBenchMetric):
    unit = "0..1"
    bounds = (0.0, 1.0)
    direction = "higher"
    still_value = 1.0
    compat = ("overlapping-clip", "clip-order", "missing-clip-to-clip")

    def cache_settings(self) -> dict[str, Any]:
        """Results without `long_range` have their clip-to-clip scores since `between` is a part of the key."""
        long_range = self.settings.long_range
        chosen = {"long_range": True, "antialias": self.settings.antialias} if long_range else {"between": "in-clip"}
        return chosen | super().cache_settings()

    @abstractmethod
    def extractors(self) -> Extractors:
        """The networks of this dimension."""

    def networks(self) -> Sequence[str]:
        extractors = self.extractors()
        return (extractors.network, extractors.between) if self.settings.long_range else (extractors.network,)

    def open(self, ctx: VideoContext) -> MetricRun:
        return _Run(self.extractors(), self.settings, ctx.model_pool)


@metrics.register("vbench/subject_consistency")
class SubjectConsistency(_Consistency):
    """Similarity of frames: DINO ViT-B/16 within a clip, DINOv2 ViT-B/14 between clips."""

    name = "subject_consistency"

    def extractors(self) -> Extractors:
        from longtake.evaluators.vbench import pixels

        return Extractors("subject", "dino", pixels.for_dino, "dino", "dinov2", pixels.for_dinov2)


@metrics.register("vbench/background_consistency")
class BackgroundConsistency(_Consistency):
    """Similarity of frames: CLIP ViT-B/32 within a clip, DreamSim between clips."""

    name = "background_consistency"

    def extractors(self) -> Extractors:
        from longtake.evaluators.vbench import pixels

        return Extractors("background", "clip-b", pixels.for_clip, "clip", "dreamsim", pixels.for_dreamsim)
