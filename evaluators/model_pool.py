"""The device of a scoring process and its loaded networks, each loaded once."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from longtake.evaluators import gpu
from longtake.platform.errors import WeightsError
from longtake.platform.machine.process import compute_exactly

if TYPE_CHECKING:
    from longtake.evaluators.clip_frames import ClipFrames
    from longtake.evaluators.views import ClipView, Frames

Loader = Callable[[str, str], Any]

CELL_PX = 8
# Peak size of AMT's tensors (RAFT needs less): two correlation pyramids, which compare every cell of one frame with
# every cell of the other, and feature maps of the size of the frames.
PAIR_BYTES_PER_CELLS, PAIR_BYTES_PER_PX = 10.8, 800
FRAME_BYTES = 112 << 20  # MUSIQ with a square frame: the maximum over networks of single frames
SHARE_OF_FREE = 0.5  # the rest is for kernel workspaces, prepared frames and other processes
MOST_FRAMES, MOST_PAIRS = 64, 8
HALF_ON_CUDA = ("clip-b", "clip-l")  # as in OpenAI's loader


def published(name: str, device: str) -> Any:
    """The network with its published weights. Raises WeightsError, SetupError."""
    from longtake.evaluators.models.base import load

    if gpu.is_gpu(device) and name in HALF_ON_CUDA:
        network = load(name, device, half=True)
        return lambda frames: network(frames.half())
    return load(name, device)


def other_weights(artefact: str, digest: str, planned: str) -> str:
    return (
        f"the weights {artefact} on node {socket.gethostname()} (sha256 {digest[:12]}) differ from those of the "
        f"sweep's plan ({planned[:12]}); give every node the same weights (longtake weights pull {artefact}), or run "
        "the sweep again to use these"
    )


def pair_bytes(height: int, width: int) -> float:
    """GPU memory for one pair of frames in AMT or RAFT."""
    cells = (height / CELL_PX) * (width / CELL_PX)
    return PAIR_BYTES_PER_CELLS * cells**2 + PAIR_BYTES_PER_PX * height * width


@dataclass
class ModelPool:
    """`device`: cpu, cuda or cuda:N. `load`: (name, device) -> the network, ready to run. `planned`: artefact -> sha256
    that its weights must have when they are loaded."""

    device: str = "cpu"
    load: Loader = published
    loaded: dict[str, Any] = field(default_factory=dict)
    planned: dict[str, str] = field(default_factory=dict)

    def set_up(self) -> None:
        """Prepare the process for its device: on a GPU, float32 is computed exactly. Call before any network runs."""
        if self.on_gpu:
            compute_exactly()

    @property
    def on_gpu(self) -> bool:
        return gpu.is_gpu(self.device)

    def network(self, name: str) -> Any:
        """The network `name` in eval mode, without gradients. Raises WeightsError, ConfigError."""
        if name not in self.loaded:
            network = self.load(name, self.device)
            self.check(name)
            self.loaded[name] = network
        return self.loaded[name]

    def check(self, name: str) -> None:
        """Raises WeightsError if weights that were just loaded are planned to be others."""
        if not self.planned:
            return
        from longtake.evaluators.models.base import weights_sha256

        for artefact, digest in weights_sha256(name).items():
            if digest != self.planned.get(artefact, digest):
                raise WeightsError(other_weights(artefact, digest, self.planned[artefact]))

    def frames(self, view: ClipView) -> ClipFrames:
        """The clip's frames on the device of the networks. A clip is moved there once, for all metrics."""
        return view.product("frames", lambda: self.place(view.frames))

    @cached_property
    def place(self) -> Callable[[Frames], ClipFrames]:
        from longtake.evaluators.clip_frames import OnHost, Upload

        return Upload(self.device) if self.on_gpu else OnHost

    @cached_property
    def max_pass_bytes(self) -> float:
        """GPU memory that one pass of a network may use. Computed once, so batch sizes stay the same in a process."""
        return SHARE_OF_FREE * gpu.free_bytes(self.device)

    @property
    def batch(self) -> int:
        """Frames per pass of a network. Larger batches gain nothing on a CPU."""
        return max(1, min(MOST_FRAMES, int(self.max_pass_bytes / FRAME_BYTES))) if self.on_gpu else 8

    def pairs(self, height: int, width: int) -> int:
        """Pairs of frames of this size per pass of a network."""
        if not self.on_gpu:
            return 1
        return max(1, min(MOST_PAIRS, int(self.max_pass_bytes / pair_bytes(height, width))))


def pool_of(networks: Mapping[str, Any], device: str = "cpu") -> ModelPool:
    """A pool with exactly these networks."""
    return ModelPool(device, lambda name, _: networks[name])
