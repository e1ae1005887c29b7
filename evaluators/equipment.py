"""What a process scores with: its device, and the published networks that it has loaded, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Loader = Callable[[str, str], Any]


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

    @property
    def pairs(self) -> int:
        """Pairs of full frames that one pass takes."""
        return 8 if self.device.startswith("cuda") else 1


def ready_made(networks: Mapping[str, Any], device: str = "cpu") -> Equipment:
    """Equipment that has these networks and no others."""
    return Equipment(device, lambda name, _: networks[name])
