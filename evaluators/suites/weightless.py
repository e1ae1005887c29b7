"""weightless: VBench-Long's 2 s protocol with stand-ins that need no download, and two metrics that see drift."""

from __future__ import annotations

from longtake.evaluators.base import Suite, suites


@suites.register("weightless")
class Weightless(Suite):
    name = "weightless"
    about = "stand-in features (no downloaded weights): not comparable with published VBench numbers"
    protocol = "direct"
    version = 1
    metrics = (
        "temporal_flickering",
        "subject_consistency",
        "background_consistency",
        "motion_smoothness",
        "dynamic_degree",
        "imaging_quality",
        "palette_consistency",
        "chroma_noise",
    )
