"""LongLive-RAG: retrieve the past frames that look most like the newest one (2026; training-free).

The query is the descriptor of the last frame of the previous block; the K most similar eligible frames (cosine,
float32, equal similarities to the older frame) are attended, most similar first. One choice serves every layer and
pass of a block.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Latent, Method, RolloutInfo, Window, methods
from longtake.platform.methods.memory import Choice, MemoryConfig, MemoryMethod


class Descriptor(Protocol):
    """Latents [B, n, C, H, W] -> one vector per frame [B, n, E]."""

    def __call__(self, latents: Tensor) -> Tensor: ...


def avg_pool(latents: Tensor) -> Tensor:
    """Mean over the frame: [B, n, C, H, W] -> [B, n, C]."""
    return latents.mean(dim=(-2, -1))


def cosine(query: Tensor, keys: Tensor) -> Tensor:
    """[B, E] against [B, F, E] -> [B, F], float32; each norm is guarded by 1e-8 added to it."""
    unit_query = query / (query.norm(dim=-1, keepdim=True) + 1e-8)
    unit_keys = keys / (keys.norm(dim=-1, keepdim=True) + 1e-8)
    return (unit_keys @ unit_query.unsqueeze(-1)).squeeze(-1)


class DescriptorTable:
    """Descriptors [B, F, E] of all finished frames, in one tensor that doubles when it is full."""

    def __init__(self) -> None:
        self.rows = torch.empty(0)
        self.count = 0

    def append(self, described: Tensor) -> None:
        """Add [B, n, E]."""
        end = self.count + described.shape[1]
        if self.count == 0:
            self.rows = described.clone()
        elif end > self.rows.shape[1]:
            self.rows = torch.cat([self.rows, torch.empty_like(self.rows)], dim=1)
        self.rows[:, self.count : end] = described
        self.count = end

    @property
    def all(self) -> Tensor:
        return self.rows[:, : self.count]


class RetrievalMemory(MemoryMethod):
    """Keeps one descriptor per finished frame and retrieves by cosine similarity."""

    def __init__(self, info: RolloutInfo, config: MemoryConfig, descriptor: Descriptor):
        super().__init__(info, config)
        self.descriptor = descriptor
        self.descriptors = DescriptorTable()

    def observe(self, first: int, latents: Tensor) -> None:
        self.descriptors.append(self.descriptor(latents.float()))

    def choose(self, first: int, eligible: range, count: int) -> list[list[Choice]]:
        described = self.descriptors.all
        similarity = cosine(described[:, first - 1], described[:, eligible.start : eligible.stop])
        similarity, order = similarity.sort(dim=1, descending=True, stable=True)
        best = zip(order[:, :count].tolist(), similarity[:, :count].tolist(), strict=True)
        return [[(eligible.start + i, s) for i, s in zip(*row, strict=True)] for row in best]


@methods.register("rag")
@dataclass(frozen=True)
class Rag(MemoryConfig):
    """`descriptor` is `avg-pool`, or the folder or file of a trained latent autoencoder (safetensors + its json)."""

    descriptor: str = "avg-pool"

    def build(self, info: RolloutInfo) -> Method:
        return RetrievalMemory(info, self, self.load_descriptor())

    def load_descriptor(self) -> Descriptor:
        if self.descriptor == "avg-pool":
            return avg_pool
        from longtake.platform.models.embedder import load_embedder

        return load_embedder(self.descriptor)

    def fingerprint(self) -> dict[str, str]:
        if self.descriptor == "avg-pool":
            return {}
        from longtake.platform.models.embedder import embedder_sha256

        return {"method.descriptor": embedder_sha256(self.descriptor)}

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        if self.descriptor == "avg-pool":
            return
        from longtake.platform.models.embedder import embedder_spec

        spec = embedder_spec(self.descriptor)
        made_for = (spec.in_channels, spec.spatial_h, spec.spatial_w)
        if made_for != latent:
            raise ConfigError(f"descriptor {self.descriptor}: made for latents {made_for}, the backbone's are {latent}")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.descriptor:
            raise ConfigError("descriptor is empty: name avg-pool or the file of a trained embedder")
