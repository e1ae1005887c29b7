"""The base of the memory methods that compare frames.

The query is the descriptor of the last frame of the previous block. All layers and passes of a block use one choice.
Subclasses of `RetrievalConfig` only pick among eligible frames, by their descriptors and their similarity to the query.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Latent, Method, RolloutInfo, Window
from longtake.platform.methods.parts.descriptors import AVG_POOL, POOLS, Descriptor
from longtake.platform.methods.parts.memory import Choice, MemoryConfig, MemoryMethod
from longtake.platform.methods.parts.selection import sequence_similarity
from longtake.platform.settings.paths import FilePath

if TYPE_CHECKING:
    from torch import Tensor


class RetrievalMemory(MemoryMethod):
    """Retrieves what its config picks by cosine similarity."""

    needs_descriptors = True

    def __init__(self, info: RolloutInfo, config: RetrievalConfig):
        super().__init__(info, config)
        self.config = config

    def choose(self, row: int, first: int, eligible: list[int], count: int) -> list[Choice]:
        import numpy as np
        import torch

        unit = self.descriptors.unit[row].clone()  # products of numbers at another alignment may differ in the last bit
        frames = torch.from_numpy(np.array(eligible))
        keys = unit[frames]
        if self.config.sequence is None:
            similarity = (keys @ unit[first - 1, :, None])[:, 0]
        else:
            similarity = sequence_similarity(unit[:first], frames, self.config.sequence)
        if self.config.gate is not None and similarity.max() < self.config.gate:
            return []
        chosen = self.config.pick(frames, keys, similarity, count)
        return list(zip(frames[chosen].tolist(), similarity[chosen].tolist(), strict=True))


@dataclass(frozen=True)
class RetrievalConfig(MemoryConfig):
    """`descriptor` is `avg-pool`, `grid-pool`, or a trained latent autoencoder: the name of a shipped or pulled one, or
    the folder or file of one (safetensors + its json). `gate`: a block whose most similar frame is below this
    cosine retrieves nothing and attends the newest frames of its window instead. `sequence`: so many of the newest
    frames are compared with consecutive past ones, in either direction, and the mean cosine counts; null: the newest
    frame alone."""

    descriptor: FilePath = AVG_POOL
    gate: float | None = None
    sequence: int | None = None

    @abstractmethod
    def pick(self, frames_F: Tensor, unit_FE: Tensor, similarity_F: Tensor, count: int) -> Tensor:
        """`count` positions in the eligible frames, in the order in which they are attended. `frames_F`: the numbers of
        the frames. `unit_FE`: their descriptors, each of length 1. `similarity_F`: how much each looks like the newest
        frames."""

    def build(self, info: RolloutInfo) -> Method:
        return RetrievalMemory(info, self)

    @property
    def described_by(self) -> str:
        return self.descriptor

    def load_descriptor(self) -> Descriptor:
        if self.descriptor in POOLS:
            return POOLS[self.descriptor]
        from longtake.platform.weights.embedder_catalog import load_embedder

        return load_embedder(self.descriptor)

    def fingerprint(self) -> dict[str, str]:
        if self.descriptor in POOLS:
            return {}
        from longtake.platform.weights.embedder_catalog import embedder_sha256

        return {"method.descriptor": embedder_sha256(self.descriptor)}

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        if self.descriptor in POOLS:
            return
        from longtake.platform.weights.embedder_catalog import embedder_spec

        spec = embedder_spec(self.descriptor)
        expected = (spec.in_channels, spec.spatial_h, spec.spatial_w)
        if expected != latent:
            raise ConfigError(f"descriptor {self.descriptor}: made for latents {expected}, the backbone's are {latent}")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.descriptor:
            raise ConfigError("descriptor is empty; set avg-pool, grid-pool or the file of a trained embedder")
        self.check_cosine("gate")
        if self.sequence is not None and self.sequence < 1:
            raise ConfigError(f"sequence = {self.sequence}: must be 1 or more, or not set")

    def check_cosine(self, name: str) -> None:
        value = getattr(self, name)
        if value is not None and not -1 < value <= 1:
            raise ConfigError(f"{name} = {value}: is a cosine, must be more than -1 and at most 1")
