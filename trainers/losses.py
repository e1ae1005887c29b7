"""The loss of the retrieval embedder (LongLive-RAG 2026, latent autoencoder): reconstruction, a margin on the
similarity of neighbours, and smoothness of the path through the embedding space. Embeddings are not normalized.

Shapes: B chunks, S frames per chunk, C channels, H x W latent size, E latent_dim.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from longtake.platform.errors import ConfigError
from longtake.platform.models.embedder import LatentAutoencoder

EPS = 1e-8


@dataclass(frozen=True)
class LossConfig:
    """`margin`: the cosine up to which neighbours have no loss; `window`: largest distance of neighbours, in frames."""

    margin: float = 0.85
    delta_weight: float = 1.0
    window: int = 3
    smooth_weight: float = 1.0

    def __post_init__(self) -> None:
        if not -1 <= self.margin <= 1:
            raise ConfigError(f"loss.margin = {self.margin:g}: must be from -1 to 1, because it is a cosine")
        for key in ("delta_weight", "smooth_weight"):
            if not 0 <= getattr(self, key) < 1e6:
                raise ConfigError(f"loss.{key} = {getattr(self, key):g}: must be 0 or more, and below 1e6")
        if self.window < 1:
            raise ConfigError(f"loss.window = {self.window}: must be 1 or more; set delta_weight to 0 to drop the term")


class LossParts(NamedTuple):
    """Scalars in float32, with their weights applied."""

    recon: Tensor
    delta: Tensor
    smooth: Tensor

    @property
    def total(self) -> Tensor:
        return self.recon + self.delta + self.smooth


def embedder_loss(model: LatentAutoencoder, chunk: Tensor, config: LossConfig) -> LossParts:
    """The loss of `chunk` [B, S, C, H, W], computed in the model's dtype and reduced in float32."""
    frames = chunk.flatten(0, 1)
    embedding = model.encoder(frames.to(model.dtype))
    recon = F.mse_loss(model.decoder(embedding).float(), frames.float())
    path = embedding.float().unflatten(0, chunk.shape[:2])
    return LossParts(recon, window_delta(path, config), smoothness(path, config))


def window_delta(path: Tensor, config: LossConfig) -> Tensor:
    """Window Temporal Delta of embeddings [B, S, E]: mean excess of cosines up to w apart over the margin."""
    terms = [
        F.relu(F.cosine_similarity(path[:, k:], path[:, :-k], dim=-1, eps=EPS) - config.margin).mean()
        for k in range(1, min(path.shape[1] - 1, config.window) + 1)
    ]
    return config.delta_weight * torch.stack(terms).mean() if terms else path.new_zeros(())


def smoothness(path: Tensor, config: LossConfig) -> Tensor:
    """Mean length of the second difference of embeddings [B, S, E]; 0 for fewer than three frames."""
    if path.shape[1] < 3:
        return path.new_zeros(())
    bend = path[:, 2:] - 2 * path[:, 1:-1] + path[:, :-2]
    return config.smooth_weight * (bend.square().sum(-1) + EPS).sqrt().mean()
