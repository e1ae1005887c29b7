"""Rows of a retrieval report: the mean of each prompt, means over prompts, and differences to a base descriptor.

All prompts have equal weight, whatever their number of scored blocks. Rows are flat dictionaries, and the JSON, the CSV
files, the figures and the table all show their numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from longtake.evaluators.retrieval.run import RetrievalResult, RetrievalRun, distances, measure, similarity
from longtake.evaluators.retrieval.world import Array, Scene, TrueVideos
from longtake.platform.methods.base import Window
from longtake.platform.stats import estimate, mean_known

ENDS = (30, 60, 120, 240, 480, 960, 1920, 3600)
"""The ends of the parts of a video, in seconds."""

Span = tuple[float, float]
Row = dict[str, Any]


def spans(seconds: float) -> list[Span]:
    """The whole video, then its parts, which end at ENDS and at the end of the video."""
    ends = [*[float(end) for end in ENDS if end < seconds], float(seconds)]
    parts = list(zip([0.0, *ends], ends, strict=False))
    return [(0.0, float(seconds)), *parts] if len(parts) > 1 else parts


@dataclass
class DescriptorTally:
    """One value per prompt and measure for one descriptor; grows with every video."""

    label: str
    window: Window
    seconds: float
    latent_fps: int
    measures: dict[tuple[str, Span], list[float]] = field(default_factory=dict)
    by_distance: list[Array] = field(default_factory=list)
    by_shared: list[Array] = field(default_factory=list)

    def add(self, run: RetrievalRun, videos: TrueVideos) -> None:
        for row, scene in enumerate(videos.scenes):
            self.add_blocks(run.results[row], scene)
            if run.descriptors is None:
                continue
            values = similarity(run.descriptors[row], scene, self.window.size)
            self.by_distance.append(values.by_distance_D)
            self.by_shared.append(values.by_shared)
            self.put("local_redundancy", self.whole, values.local_redundancy)
            self.put("overlap_gap", self.whole, values.overlap_gap)

    def add_blocks(self, result: RetrievalResult, scene: Scene) -> None:
        starts_N = result.first_frames_N / self.latent_fps
        for name, values_N in measure(result, scene, self.window.block).items():
            for span in spans(self.seconds):
                inside_N = (span[0] <= starts_N) & (starts_N < span[1])
                self.put(name, span, mean_known(values_N[inside_N]))

    def put(self, name: str, span: Span, value: float) -> None:
        self.measures.setdefault((name, span), []).append(value)

    @property
    def whole(self) -> Span:
        return spans(self.seconds)[0]


def measure_rows(tallies: Sequence[DescriptorTally], base: str) -> list[Row]:
    """A row per descriptor, measure and part of a video; `difference`: to the descriptor `base`, paired by prompt."""
    reference = next(tally.measures for tally in tallies if tally.label == base)
    rows = []
    for tally in tallies:
        for key, values in tally.measures.items():
            values_P = np.array(values)
            paired = tally.label != base and key in reference
            rows.append(
                {
                    "descriptor": tally.label,
                    "measure": key[0],
                    "from_s": key[1][0],
                    "to_s": key[1][1],
                    **estimate(values_P).to_json(),
                    "difference": estimate(values_P - np.array(reference[key])).to_json() if paired else None,
                }
            )
    return rows


def similarity_rows(tallies: Sequence[DescriptorTally], frames: int) -> list[Row]:
    """Mean cosine of two frames, by their distance in frames and by their number of shared columns."""
    rows = []
    for tally in tallies:
        if not tally.by_distance:
            continue
        by_distance, by_shared = np.stack(tally.by_distance), np.stack(tally.by_shared)
        levels = [(level, level) for level in range(by_shared.shape[1])]
        for by, edges, values_PD in (("distance", distances(frames), by_distance), ("shared", levels, by_shared)):
            for (low, high), values_P in zip(edges, values_PD.T, strict=True):
                row = {"descriptor": tally.label, "by": by, "from": low, "to": high}
                rows.append(row | estimate(values_P).to_json())
    return rows
