"""Drift: how a metric's clip scores move over a video. A result of its own beside the video's mean.

slope_per_min   least-squares slope over clip centres, per minute
quarter_diff    mean of the clips centred in the last quarter of the video minus that of the first quarter
quarter_ratio   the same two means divided (only metrics that ask for it)
For a 'higher is better' metric a negative slope or difference is a loss. Unscored clips are left out.

One video's drift has no interval here. The error of a least-squares slope would take clips for independent samples,
but neighbouring clips show one scene (the last one may even share frames), so it would be too narrow; and even a right
one would say nothing of the method on other prompts. A cell's drift has one, over prompts: aggregate.cell_means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MIN_CLIPS = 4
SLOPE, DIFF, RATIO = "slope_per_min", "quarter_diff", "quarter_ratio"


@dataclass(frozen=True)
class Timeline:
    """Where the clips of one video lie."""

    starts: tuple[int, ...]  # first frame of each clip
    clip_frames: int
    num_frames: int
    fps: float

    @property
    def start_seconds(self) -> list[float]:
        return [round(s / self.fps, 3) for s in self.starts]

    @property
    def centre_seconds(self) -> list[float]:
        half = min(self.clip_frames, self.num_frames) / 2
        return [(s + half) / self.fps for s in self.starts]

    @property
    def seconds(self) -> float:
        return self.num_frames / self.fps


def drift_of(
    clips: list[float | None], timeline: Timeline, with_ratio: bool
) -> tuple[dict[str, float | None], dict[str, str]]:
    """(numbers, reasons for those that are None) for one metric."""
    names = [SLOPE, DIFF] + [RATIO] * with_ratio
    known = [(t, v) for t, v in zip(timeline.centre_seconds, clips, strict=True) if v is not None]
    early = [v for t, v in known if t <= timeline.seconds / 4]
    late = [v for t, v in known if t >= timeline.seconds * 3 / 4]
    if len(known) < MIN_CLIPS or not early or not late:
        why = f"{len(known)} of {len(clips)} clips have a score; drift needs {MIN_CLIPS}, and both end quarters"
        return dict.fromkeys(names), dict.fromkeys(names, why)
    first, last = _mean(early), _mean(late)
    numbers: dict[str, float | None] = {SLOPE: 60.0 * _slope(known), DIFF: last - first}
    if not with_ratio:
        return numbers, {}
    numbers[RATIO] = last / first if first else None
    return numbers, {} if first else {RATIO: "the first quarter is 0"}


def _mean(values: list[float]) -> float:
    """Of equal values, exactly that value: what does not change has a drift of 0, not of 1e-17."""
    return values[0] + math.fsum(v - values[0] for v in values) / len(values)


def _slope(points: list[tuple[float, float]]) -> float:
    mean_t, mean_v = _mean([t for t, _ in points]), _mean([v for _, v in points])
    spread = sum((t - mean_t) ** 2 for t, _ in points)
    return sum((t - mean_t) * (v - mean_v) for t, v in points) / spread
