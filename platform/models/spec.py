"""Sizes of networks, and what follows from them by arithmetic. Knows no torch, so that a plan loads none."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtake.platform.checkpoints.files import read_json
from longtake.platform.errors import WeightsError

Split = tuple[int, int, int]


def wan_split(head_dim: int) -> Split:
    """Pairs of (time, row, column): c - 2 * (c // 3), c // 3, c // 3, as Wan splits c = head_dim / 2."""
    pairs = head_dim // 2
    third = pairs // 3
    return pairs - 2 * third, third, third


@dataclass(frozen=True)
class DiTSpec:
    """Sizes of a CausalDiT; `rope_split` counts (time, row, column) pairs and defaults to Wan's split."""

    dim: int
    ffn_dim: int
    heads: int
    layers: int
    channels: int
    latent_height: int
    latent_width: int
    text_len: int
    text_dim: int
    freq_dim: int = 256
    patch: tuple[int, int] = (2, 2)
    rope_split: Split | None = None
    rope_theta: float = 10_000.0
    eps: float = 1e-6

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    @property
    def token_rows(self) -> int:
        return self.latent_height // self.patch[0]

    @property
    def token_columns(self) -> int:
        return self.latent_width // self.patch[1]

    @property
    def frame_tokens(self) -> int:
        return self.token_rows * self.token_columns

    @property
    def split(self) -> Split:
        return self.rope_split or wan_split(self.head_dim)

    @property
    def frame_kv_values(self) -> int:
        """Numbers in one frame's keys and values over all layers."""
        return 2 * self.layers * self.frame_tokens * self.dim

    @property
    def frame_kv_scales(self) -> int:
        """Heads among them: keys and values, each layer and head."""
        return 2 * self.layers * self.heads

    def pass_flops(self, query_frames: int, attended_frames: int) -> int:
        """Multiply-adds times two of one network pass (products only; norms and activations left out)."""
        tokens, keys, d = query_frames * self.frame_tokens, attended_frames * self.frame_tokens, self.dim
        linear = tokens * (6 * d * d + 2 * d * self.ffn_dim)
        mixing = 2 * tokens * d * (keys + self.text_len)
        return 2 * self.layers * (linear + mixing)

    def block_flops(self, passes: int, query_frames: int, attended_frames: int) -> int:
        """Of so many denoising passes and a commit pass, which ends with the last layer's queries, keys and values."""
        whole = self.pass_flops(query_frames, attended_frames)
        projected = 2 * query_frames * self.frame_tokens * 3 * self.dim * self.dim
        return (passes + 1) * whole - (whole // self.layers - projected)


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


def spec_from(sizes: Any, origin: Path) -> EmbedderSpec:
    """Sizes out of a training's config; keys that are no sizes are ignored. Raises WeightsError that names `origin`."""
    fields = EmbedderSpec.__dataclass_fields__
    if not isinstance(sizes, dict) or not all(is_size(sizes.get(key), key == "hidden_dims") for key in fields):
        raise WeightsError(
            f"{origin}: needs `config` with {', '.join(fields)}, whole numbers of 1 or more; "
            "write the sizes of the trained embedder"
        )
    return EmbedderSpec(**{key: sizes[key] for key in fields} | {"hidden_dims": tuple(sizes["hidden_dims"])})


def is_size(value: Any, several: bool = False) -> bool:
    if several:
        return isinstance(value, list | tuple) and bool(value) and all(map(is_size, value))
    return type(value) is int and value > 0


def spec_beside(path: Path) -> EmbedderSpec:
    """Sizes from `config` of the .json beside the weights."""
    return spec_from(read_json(path.with_suffix(".json")).get("config"), path.with_suffix(".json"))
