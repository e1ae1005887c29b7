"""Held-out videos with ground truth: true latents along a camera path, and the world columns that each frame shows.

Owns the ground truth and knows no descriptors. Two frames share content where they share columns. The world is static,
so two frames from one camera column are copies.

Legend: P videos, F frames, W columns of the world that a video shows, N blocks.
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
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Scene:
    """Ground truth of one video: the camera column of each frame, the width of a view and of the circular world."""

    camera_F: IntArray
    view_columns: int
    world_columns: int

    @cached_property
    def shows_FW(self) -> Mask:
        """Which columns each frame shows, of the W that any frame shows."""
        columns = (self.camera_F[:, None] + np.arange(self.view_columns)) % self.world_columns
        found, numbers = np.unique(columns, return_inverse=True)
        shows = np.zeros((len(self.camera_F), len(found)), dtype=bool)
        np.put_along_axis(shows, numbers.reshape(columns.shape), True, axis=1)
        return shows

    @cached_property
    def shared_FF(self) -> IntArray:
        """Number of columns that two frames share."""
        shows = self.shows_FW.astype(np.float32)
        return np.rint(shows @ shows.T).astype(np.int64)

    @cached_property
    def copies_FF(self) -> Mask:
        """Whether two frames were taken from one camera column."""
        column = self.camera_F % self.world_columns
        return column[:, None] == column


@dataclass(frozen=True)
class TrueVideos:
    """Latents [P, F, C, H, W] and their scenes; `seeds` key the random draws of a method."""

    latents: Tensor
    scenes: tuple[Scene, ...]
    seeds: tuple[int, ...]

    @property
    def frames(self) -> int:
        return self.latents.shape[1]

    def info(self, window: Window) -> RolloutInfo:
        """The description that a method gets of a rollout that generates these videos."""
        camera = np.stack([scene.camera_F for scene in self.scenes])
        first = self.scenes[0]
        worlds = tuple(scene.world_columns for scene in self.scenes)
        return RolloutInfo(window, len(self.scenes), self.seeds, camera, first.view_columns, worlds)


def true_videos(backbone: Backbone, prompts: Sequence[str], seed: int, frames: int, noise: float = 0.0) -> TrueVideos:
    """The first `frames` true latent frames of each prompt, with independent Gaussian noise. The backbone must have a
    known camera. A video does not depend on the other prompts."""
    conditions = [backbone.condition(prompt, frames) for prompt in prompts]
    scenes = [Scene(np.asarray(one.columns, np.int64), one.view_columns, one.world_columns) for one in conditions]
    keys = tuple(key_of(prompt, seed) for prompt in prompts)
    latents = [backbone.prefix_latents(prompt, seed, frames) for prompt in prompts]
    if noise:
        latents = [clean + noise * noise_like(clean, key) for clean, key in zip(latents, keys, strict=True)]
    return TrueVideos(torch.stack(latents), tuple(scenes), keys)


def key_of(prompt: str, seed: int) -> int:
    """A 63-bit key that depends on (prompt, seed) only."""
    return int.from_bytes(hashlib.sha256(f"{prompt}\0{seed}".encode()).digest()[:8], "little") >> 1


def noise_like(clean: Tensor, key: int) -> Tensor:
    return torch.randn(clean.shape, generator=torch.Generator().manual_seed(key))
