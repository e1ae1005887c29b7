"""The retrieval embedder of LongLive-RAG: a small convolutional autoencoder of single latent frames.

The normalised output of the encoder is a frame's descriptor. Architecture and parameter names are those of the
published checkpoint (`ae_latent_mem.pt`, key `model`), which is converted to a safetensors file with a JSON config
beside it. Sweeps name a shipped or pulled embedder, or else its file or folder.

Shapes: B frames, C channels, H x W latent size, E latent_dim.
"""

import os
from dataclasses import asdict
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longtake.platform.checkpoints.files import check_header, sha256
from longtake.platform.checkpoints.writer import write_safetensors
from longtake.platform.models.spec import EmbedderSpec, spec_beside
from longtake.platform.store.durable import json_bytes, replace_file, storage_errors, temp_path


def group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(next(g for g in (32, 16, 8, 4, 1) if channels % g == 0), channels)


class ResBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))))))."""

    def __init__(self, channels: int):
        super().__init__()
        self.block = nn.Sequential(
            *(group_norm(channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)),
            *(group_norm(channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class Encoder(nn.Module):
    """Frames [B, C, H, W] -> embeddings [B, E], not normalised."""

    def __init__(self, spec: EmbedderSpec):
        super().__init__()
        stages: list[nn.Module] = []
        for before, after in pairwise((spec.in_channels, *spec.hidden_dims)):
            stages += [nn.Conv2d(before, after, 3, 2, 1), group_norm(after), nn.SiLU(), ResBlock(after)]
        self.conv_stack = nn.Sequential(*stages)
        self.final_norm = nn.Sequential(group_norm(spec.hidden_dims[-1]), nn.SiLU())
        self.fc = nn.Linear(spec.hidden_dims[-1], spec.latent_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.final_norm(self.conv_stack(x)).mean(dim=(-2, -1)))


class Decoder(nn.Module):
    """Embeddings [B, E] -> frames [B, C, H, W]; the mirror of the encoder, cropped to size."""

    def __init__(self, spec: EmbedderSpec):
        super().__init__()
        self.spec = spec
        self.fc = nn.Sequential(nn.Linear(spec.latent_dim, prod(spec.feature_shape)), nn.SiLU())
        stages: list[nn.Module] = []
        for before, after in pairwise(reversed(spec.hidden_dims)):
            stages += [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1)]
            stages += [group_norm(after), nn.SiLU(), ResBlock(after)]
        self.upsample_stack = nn.Sequential(*stages)
        last = nn.Conv2d(spec.hidden_dims[0], spec.in_channels, 3, padding=1)
        self.final = nn.Sequential(nn.Upsample(scale_factor=2), last)

    def forward(self, embedding: Tensor) -> Tensor:
        features = self.fc(embedding).unflatten(1, self.spec.feature_shape)
        return self.final(self.upsample_stack(features))[..., : self.spec.spatial_h, : self.spec.spatial_w]


class LatentAutoencoder(nn.Module):
    """Encoder and decoder. Calling it with latents [B, n, C, H, W] returns descriptors [B, n, E] of length 1."""

    def __init__(self, spec: EmbedderSpec):
        super().__init__()
        self.spec = spec
        self.encoder, self.decoder = Encoder(spec), Decoder(spec)

    @property
    def dtype(self) -> torch.dtype:
        return self.encoder.fc.weight.dtype

    def forward(self, latents: Tensor) -> Tensor:
        embedding = self.encoder(latents.flatten(0, 1))
        return F.normalize(embedding, dim=-1, eps=1e-12).unflatten(0, latents.shape[:2])


def fresh_embedder(spec: EmbedderSpec, seed: int) -> LatentAutoencoder:
    """An untrained embedder, the same for the same seed; torch's global generator is not touched.

    Convolutions are Kaiming-normal, linears Xavier-normal, biases 0, and every residual block begins as the identity.
    """
    model = empty_embedder(spec).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.named_parameters():
        if value.dim() == 4:
            nn.init.kaiming_normal_(value, nonlinearity="relu", generator=generator)
        elif value.dim() == 2:
            nn.init.xavier_normal_(value, generator=generator)
        else:
            nn.init.constant_(value, name.endswith("weight"))  # norms scale by 1
        if name.endswith(".block.5.weight"):
            nn.init.zeros_(value)
    return model


def save_embedder(
    model: LatentAutoencoder, path: Path, facts: dict[str, Any], dtype: torch.dtype = torch.float32
) -> str:
    """Write the weights in `dtype`, then the JSON beside them: the sizes as `config`, and `facts`.

    Replaces each file atomically. Returns the sha256 of the weights. Raises StorageError.
    """
    weights = {name: value.detach().to("cpu", dtype) for name, value in model.state_dict().items()}
    temp = temp_path(path.parent, path.name)
    with storage_errors(path, "write the file"):
        try:
            write_safetensors(weights, temp)
            os.replace(temp, path)
        finally:
            temp.unlink(missing_ok=True)
    replace_file(path.with_suffix(".json"), json_bytes({"config": asdict(model.spec), **facts}))
    return sha256(path)


def empty_embedder(spec: EmbedderSpec) -> LatentAutoencoder:
    """An embedder on the meta device, with names and shapes only."""
    with torch.device("meta"):
        return LatentAutoencoder(spec)


def check_embedder(path: Path) -> None:
    """Raises WeightsError unless the weights' header fits the sizes in the JSON beside them; reads no numbers."""
    check_header(path, empty_embedder(spec_beside(path)))
