"""What a process scores with: its device, and the published networks that it has loaded, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Loader = Callable[[str, str], Any]


CELL_PX = 8
BYTES_PER_CELLS = 16  # of AMT, the larger of the two, per cell times cell: 1.07 GB for a pair of 544x960
PAIRS_BYTES = 8 << 30
MOST_PAIRS = 8
HALF_ON_CUDA = ("clip-b", "clip-l")  # as OpenAI's loader has them


def published(name: str, device: str) -> Any:
    """The network with its published weights. Raises WeightsError, SetupError."""
    from longtake.evaluators.models.base import load

    if device.startswith("cuda") and name in HALF_ON_CUDA:
        network = load(name, device, half=True)
        return lambda frames: network(frames.half())
    return load(name, device)


@dataclass
class Equipment:
    """`device`: cpu, cuda or cuda:N. `load`: (name, device) -> the network, ready to run."""

    device: str = "cpu"
    load: Loader = published
    loaded: dict[str, Any] = field(default_factory=dict)

    def network(self, name: str) -> Any:
        """The network called `name`, in evaluation, without gradients. Raises WeightsError, ConfigError."""
        if name not in self.loaded:
            self.loaded[name] = self.load(name, self.device)
        return self.loaded[name]

    @property
    def batch(self) -> int:
        """Frames that one pass of a network takes: a CPU gains nothing from many."""
        return 64 if self.device.startswith("cuda") else 8

    def pairs(self, height: int, width: int) -> int:
        """Pairs of frames of this size that one pass takes: every cell of a frame is held against all of the other."""
        if not self.device.startswith("cuda"):
            return 1
        cells = (height / CELL_PX) * (width / CELL_PX)
        return max(1, min(MOST_PAIRS, int(PAIRS_BYTES / (BYTES_PER_CELLS * cells**2))))


def ready_made(networks: Mapping[str, Any], device: str = "cpu") -> Equipment:
    """Equipment that has these networks and no others."""
    return Equipment(device, lambda name, _: networks[name])
