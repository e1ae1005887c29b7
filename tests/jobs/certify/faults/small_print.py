"""Says that it attends fewer frames than it does."""

from dataclasses import dataclass

from longtake.platform.methods.base import Window, methods
from longtake.platform.methods.native import Native
from longtake.platform.models.spec import DiTSpec


@methods.register("small-print")
@dataclass(frozen=True)
class SmallPrint(Native):
    def attended(self, window: Window, network: DiTSpec) -> float:
        return window.size - 3
