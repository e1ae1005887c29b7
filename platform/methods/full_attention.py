"""Full attention: every frame so far, at its own index; the upper reference for what a context can hold.

It forgets nothing, and it shows what attention alone makes of that. Two limits come with it. Time indices grow without
bound, far beyond those of a backbone's training (21 frames for the published ones), so its videos also show how a
backbone extrapolates. And keys and values of the whole video stay in the memory of the device, twice: as they were
computed, and rotated for attention. At 480x832 in bf16 a frame is 274 MiB, so 30 s need 64 GiB and 240 s 514 GiB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Latent, Method, MethodConfig, RolloutInfo, methods
from longtake.platform.methods.interface.plan import Window
from longtake.platform.methods.native import SlidingWindow

if TYPE_CHECKING:
    from longtake.platform.models.spec import DiTSpec

EVERY = 1_000_000
"""Frames of a window that never fills."""


@methods.register("full-attention")
@dataclass(frozen=True)
class FullAttention(MethodConfig):
    """Every frame so far, at absolute positions: an upper reference, whose memory and time grow with the video."""

    window: int | None = EVERY
    sink: int | None = None

    def build(self, info: RolloutInfo) -> Method:
        return SlidingWindow(info, relative=False, recache="none")

    def attended(self, window: Window, network: DiTSpec) -> None:
        return None

    def at_budget(self, frames: int) -> Self:
        raise ConfigError("full-attention attends every frame, whatever the budget")

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        if window.size < EVERY:
            raise ConfigError(
                f"window = {window.size}: full-attention attends every frame; leave it out, or use native"
            )
