"""Held-out videos whose truth is known: true latents along a camera, and which columns of the world each frame shows.

Owns truth and nothing of descriptors. Two frames show the same content as far as they share columns; a frame from the
very same camera column is a copy, since the world stands still.

Legend: P videos, F frames, W columns of the world, N blocks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longtake.platform.methods.base import RolloutInfo, Window

if TYPE_CHECKING:
    from longtake.platform.backbones.base import Backbone

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Scene:
    """The truth of one video: the camera's column of every frame, its view, and the columns of the circular world."""

    camera_F: Whole
    view_columns: int
    world_columns: int

    @cached_property
    def shows_FW(self) -> Mask:
        places = (self.camera_F[:, None] + np.arange(self.view_columns)) % self.world_columns
        shows = np.zeros((len(self.camera_F), self.world_columns), dtype=bool)
        np.put_along_axis(shows, places, True, axis=1)
        return shows

    @cached_property
    def shared_FF(self) -> Whole:
        """How many columns two frames both show."""
        shows = self.shows_FW.astype(np.float32)
        return np.rint(shows @ shows.T).astype(np.int64)

    @cached_property
    def copies_FF(self) -> Mask:
        """Whether two frames were taken from the very same column."""
        place = self.camera_F % self.world_columns
        return place[:, None] == place


@dataclass(frozen=True)
class TrueVideos:
    """latents [P, F, C, H, W] and the scene of each; `seeds` keys what a method draws."""

    latents: Tensor
    scenes: tuple[Scene, ...]
    seeds: tuple[int, ...]

    @property
    def frames(self) -> int:
        return self.latents.shape[1]

    def info(self, window: Window) -> RolloutInfo:
        """What a method is told of a rollout that makes these videos."""
        camera = np.stack([scene.camera_F for scene in self.scenes])
        first = self.scenes[0]
        return RolloutInfo(window, len(self.scenes), self.seeds, camera, first.view_columns, first.world_columns)


def true_videos(backbone: Backbone, prompts: Sequence[str], seed: int, frames: int, noise: float = 0.0) -> TrueVideos:
    """The true views of `frames` latent frames a prompt, each with Gaussian noise of its own. The backbone must have a
    known camera; a video does not depend on which others are made."""
    told = [backbone.condition(prompt, frames) for prompt in prompts]
    scenes = [Scene(np.asarray(one.columns, np.int64), one.view_columns, one.world_columns) for one in told]
    keys = tuple(key_of(prompt, seed) for prompt in prompts)
    latents = [backbone.prefix_latents(prompt, seed, frames) for prompt in prompts]
    if noise:
        latents = [clean + noise * noise_like(clean, key) for clean, key in zip(latents, keys, strict=True)]
    return TrueVideos(torch.stack(latents), tuple(scenes), keys)


def key_of(prompt: str, seed: int) -> int:
    """63 bits that (prompt, seed) decide."""
    return int.from_bytes(hashlib.sha256(f"{prompt}\0{seed}".encode()).digest()[:8], "little") >> 1


def noise_like(clean: Tensor, key: int) -> Tensor:
    return torch.randn(clean.shape, generator=torch.Generator().manual_seed(key))
