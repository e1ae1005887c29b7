"""The retrieval embedder of LongLive-RAG: a small convolutional autoencoder of single latent frames.

The encoder's output, normalised, is a frame's descriptor. Layout and parameter names are those of the published
checkpoint (`ae_latent_mem.pt`, key `model`), which a safetensors file with its config beside it as json replaces.

Shapes: B frames, C channels, H x W latent size, E latent_dim.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from longtake.platform.errors import WeightsError
from longtake.platform.models.checkpoints import load_safetensors, load_strict, read_json, sha256


@dataclass(frozen=True)
class EmbedderSpec:
    """Sizes of the autoencoder; defaults are those of Wan at 480x832."""

    in_channels: int = 16
    spatial_h: int = 60
    spatial_w: int = 104
    latent_dim: int = 1024
    hidden_dims: tuple[int, ...] = (64, 128, 256)

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """Shape of the encoder's last feature map: each stage halves, rounding up."""
        height, width = self.spatial_h, self.spatial_w
        for _ in self.hidden_dims:
            height, width = (height + 1) // 2, (width + 1) // 2
        return self.hidden_dims[-1], height, width


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
    """Encoder and decoder; called with latents [B, n, C, H, W] it gives descriptors [B, n, E] of length 1."""

    def __init__(self, spec: EmbedderSpec):
        super().__init__()
        self.spec = spec
        self.encoder, self.decoder = Encoder(spec), Decoder(spec)

    def forward(self, latents: Tensor) -> Tensor:
        embedding = self.encoder(latents.flatten(0, 1))
        return F.normalize(embedding, dim=-1, eps=1e-12).unflatten(0, latents.shape[:2])


def embedder_file(name: str | Path) -> Path:
    """The safetensors file behind a descriptor's name: the file itself, or the only one in a folder."""
    path = Path(name)
    found = sorted(path.glob("*.safetensors")) if path.is_dir() else [path] if path.is_file() else []
    if len(found) != 1 or found[0].suffix != ".safetensors":
        raise WeightsError(f"descriptor {name}: need avg-pool, or one .safetensors file (or a folder with just one)")
    return found[0]


def embedder_sha256(name: str | Path) -> str:
    return sha256(embedder_file(name))


def embedder_spec(name: str | Path) -> EmbedderSpec:
    """Sizes from `config` of the .json beside the weights; keys that are no sizes are ignored."""
    path = embedder_file(name).with_suffix(".json")
    sizes = read_json(path).get("config")
    fields = EmbedderSpec.__dataclass_fields__
    if not isinstance(sizes, dict) or not fields.keys() <= sizes.keys():
        raise WeightsError(f"{path}: needs `config` with {', '.join(fields)}; write the sizes of the trained embedder")
    return EmbedderSpec(**{key: sizes[key] for key in fields} | {"hidden_dims": tuple(sizes["hidden_dims"])})


def load_embedder(name: str | Path) -> LatentAutoencoder:
    """Load an embedder; every weight of the file and of the model must be matched."""
    path = embedder_file(name)
    model = LatentAutoencoder(embedder_spec(name))
    load_strict(model, load_safetensors(path), path)
    return model.eval().requires_grad_(False)
