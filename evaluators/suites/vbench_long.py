"""vbench-long: the dimensions of VBench-Long for custom videos, with the networks of VBench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from longtake.evaluators.base import Metric, Suite, metrics, suites
from longtake.evaluators.vbench.metric import VBenchMetric
from longtake.evaluators.vbench.settings import OF_FOLDERS, Settings
from longtake.platform.errors import ConfigError
from longtake.platform.registry import did_you_mean

DIMENSIONS = (
    "subject_consistency",
    "background_consistency",
    "motion_smoothness",
    "dynamic_degree",
    "aesthetic_quality",
    "imaging_quality",
    "temporal_flickering",
)


@suites.register("vbench-long")
@dataclass(frozen=True)
class VBenchLong(Settings, Suite):
    """`dimensions`: the dimensions to score. A table has one protocol and one value of every setting."""

    dimensions: list[str] = field(default_factory=lambda: list(DIMENSIONS))

    name = "vbench-long"
    about = "VBench-Long's dimensions with VBench's networks; comparable with published numbers of the same settings"
    chosen_by = "dimensions"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.dimensions:
            if name not in DIMENSIONS:
                raise ConfigError(f"dimensions: unknown dimension {name!r}; {did_you_mean(name, [*DIMENSIONS])}")
            if self.dimensions.count(name) > 1:
                raise ConfigError(f"dimensions: {name!r} is listed twice; list it once")
        if not self.dimensions:
            raise ConfigError(f"dimensions: is empty; list some of {', '.join(DIMENSIONS)}")

    @property
    def metrics(self) -> Sequence[str]:  # type: ignore[override]
        return [registered(name) for name in DIMENSIONS if name in self.dimensions] + ["scene_cuts"]

    def metric(self, key: str) -> Metric:
        kind = metrics.get(key)
        return kind(self) if issubclass(kind, VBenchMetric) else kind()

    def variants(self) -> dict[str, Suite]:
        return {"long_range": VBenchLong(long_range=True)}

    def official_names(self) -> list[str]:
        return [name for name in DIMENSIONS if name in self.dimensions]

    def official_results(self, videos: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
        from longtake.evaluators.vbench.export import vbench_results

        return vbench_results(videos, self, self.official_names())

    def official_gaps(self, entry: Mapping[str, Any]) -> set[str]:
        from longtake.evaluators.vbench.export import FUSED, has_clip_to_clip

        return {name for name in FUSED if name in entry["metrics"] and not has_clip_to_clip(name, entry)}

    def of_folders(self) -> list[str]:
        return [name for name in self.compat if name in OF_FOLDERS]

    def settings(self) -> dict[str, Any]:
        return asdict(self) | {name: sorted(getattr(self, name)) for name in ("compat", "dimensions")}


def registered(dimension: str) -> str:
    """The registered name of a dimension. Flickering runs no network and is the same metric in every suite."""
    return dimension if dimension == "temporal_flickering" else f"vbench/{dimension}"
