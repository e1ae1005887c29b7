"""Drift: the change of a metric's clip scores over a video, reported beside the mean of the video.

slope_per_min   least-squares slope over clip centres, per minute
quarter_diff    mean of the clips centred in the last quarter of the video minus that of the first quarter
quarter_ratio   the ratio of these two means (only for metrics with `ratio_drift`)
For a 'higher is better' metric a negative slope or difference is a loss. Unscored clips are left out.

The drift of one video has no interval. The standard error of a least-squares slope assumes independent samples, but
neighbouring clips show one scene (the last one may share frames), so the interval would be too narrow, and it would not
cover other prompts. The drift of a cell has an interval over prompts: results.table.cell_means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MIN_CLIPS = 4
SLOPE, DIFF, RATIO = "slope_per_min", "quarter_diff", "quarter_ratio"


@dataclass(frozen=True)
class Timeline:
    """The times of the clips of one video."""

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
        why = f"{len(known)} of {len(clips)} clips have a score; drift needs {MIN_CLIPS}, some in both end quarters"
        return dict.fromkeys(names), dict.fromkeys(names, why)
    first, last = _mean(early), _mean(late)
    numbers: dict[str, float | None] = {SLOPE: 60.0 * _slope(known), DIFF: last - first}
    if not with_ratio:
        return numbers, {}
    numbers[RATIO] = last / first if first else None
    return numbers, {} if first else {RATIO: "the first quarter is 0"}


def _mean(values: list[float]) -> float:
    """The mean, exact for equal values, so that constant scores have a drift of 0 and not of 1e-17."""
    return values[0] + math.fsum(v - values[0] for v in values) / len(values)


def _slope(points: list[tuple[float, float]]) -> float:
    mean_t, mean_v = _mean([t for t, _ in points]), _mean([v for _, v in points])
    spread = sum((t - mean_t) ** 2 for t, _ in points)
    return sum((t - mean_t) * (v - mean_v) for t, v in points) / spread
