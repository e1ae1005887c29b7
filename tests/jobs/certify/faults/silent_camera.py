"""Retrieves by the camera where there is one and at random where there is none, under the same label."""

from dataclasses import dataclass
from typing import ClassVar

from longtake.platform.methods.base import Method, RolloutInfo, methods
from longtake.platform.methods.oracle import Oracle, OracleMethod
from longtake.platform.methods.random_memory import RandomMemoryMethod


@methods.register("silent-camera")
@dataclass(frozen=True)
class SilentCamera(Oracle):
    needs_camera: ClassVar[bool] = False

    def build(self, info: RolloutInfo) -> Method:
        return OracleMethod(info, self) if info.columns is not None else RandomMemoryMethod(info, self)
