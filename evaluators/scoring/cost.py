"""What scoring costs, for estimates: seconds of one CPU core per frame, as measured by tests/bench/estimates.py
and estimates_vbench.py.

Metrics share features: a metric's number is what it adds to those before it, in the order of its suite, so the first
metric that uses a feature carries its cost.
"""

from __future__ import annotations

from collections.abc import Sequence

from longtake.evaluators.base import SuiteEntry

POCKET_MEGAPIXELS = 128 * 128 / 1e6
LARGE_MEGAPIXELS = 832 * 480 / 1e6
PROPORTIONAL = POCKET_MEGAPIXELS / LARGE_MEGAPIXELS
"""For networks on whole frames, which were measured at 832x480 px: their work is taken to grow with the pixels."""
READ = 0.00026, 0.0014
"""Seconds per frame to read a video, at 128x128 and at 832x480 px."""
MEASURED = {
    "temporal_flickering": (0.00001, 0.0002),
    "subject_consistency": (0.00037, 0.0028),
    "background_consistency": (0.00038, 0.0003),
    "motion_smoothness": (0.00097, 0.0067),
    "dynamic_degree": (0.00012, 0.0004),
    "imaging_quality": (0.00007, 0.0018),
    "palette_consistency": (0.00013, 0.0010),
    "chroma_noise": (0.0, 0.0007),
    "vbench/subject_consistency": (0.713, 0.713),
    "vbench/background_consistency": (0.114, 0.114),
    "vbench/motion_smoothness": (2.350 * PROPORTIONAL, 2.350),
    "vbench/aesthetic_quality": (2.143, 2.143),
    "vbench/imaging_quality": (0.631 * PROPORTIONAL, 0.631),
    "pocket_realism": (0.001, 0.001),  # defined for 128x128 px only, as those below
    **dict.fromkeys(["pocket_repeats", "change_newest", "change_former", "change_neither"], (0.00002, 0.00002)),
    **dict.fromkeys(
        [f"revisit_{measure}{which}{floor}" for measure in ("psnr", "hit") for which in ("", "_true")
         for floor in ("", "_floor")],
        (0.00002, 0.00002),
    ),
}  # fmt: skip
"""Registered name -> seconds per frame, at both sizes."""


def at_size(measured: tuple[float, float], megapixels: float) -> float:
    """Seconds per frame: linear in the number of pixels, from the two measured sizes."""
    small, large = measured
    slope = (large - small) / (LARGE_MEGAPIXELS - POCKET_MEGAPIXELS)
    return max(0.0, small + slope * (megapixels - POCKET_MEGAPIXELS))


def scoring_seconds(
    entries: Sequence[SuiteEntry], frames: int, width: int, height: int, on_gpu: bool
) -> tuple[float, list[str]]:
    """Seconds of a core for scoring a video, and the metrics whose time is not known and not in it. On a GPU that is
    every metric with a network."""
    metrics = {key: metric for entry in entries for key, metric in entry.metrics.items()}
    known = {key for key, metric in metrics.items() if key in MEASURED and not (on_gpu and metric.networks())}
    per_frame = [READ, *(MEASURED[key] for key in metrics if key in known)]
    seconds = frames * sum(at_size(one, width * height / 1e6) for one in per_frame)
    return seconds, [metric.name for key, metric in metrics.items() if key not in known]
