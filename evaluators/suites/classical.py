"""classical: VBench-Long's 2 s protocol with stand-ins that need no download, and two metrics of drift."""

from __future__ import annotations

from longtake.evaluators.base import Suite, suites


@suites.register("classical", "weightless")
class Classical(Suite):
    name = "classical"
    about = "stand-in features (no downloaded weights): not comparable with published VBench numbers"
    protocol = "direct"
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
