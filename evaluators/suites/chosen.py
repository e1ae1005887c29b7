"""metrics: the metrics that a sweep names directly, with their default settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from longtake.evaluators.base import CHOSEN, Suite, suites
from longtake.evaluators.base import metrics as registered
from longtake.platform.errors import ConfigError


@suites.register(CHOSEN)
@dataclass(frozen=True)
class Chosen(Suite):
    """`metrics`: registered names."""

    metrics: list[str] = field(default_factory=list)

    name = CHOSEN
    about = "metrics that the sweep names; where one stands in for another, docs/metrics.md says so"
    chosen_by = CHOSEN
    protocol = "direct"

    def __post_init__(self) -> None:
        names = [registered.get(key).name for key in self.metrics]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"{CHOSEN}: two metrics are named {name!r}; put one of them under another label")
