"""The frozen latent codec of the pocket world: PCA of one 4x32 px column, and the decoder to 16 frames a second.

Owns the conversion between pixels and latents. It is linear, so decoding is exact and cheap. Every product has the
fixed shape of one frame, so batch, chunking and order change no bit. `fit` trains the codec and writes its file.

Legend: F latent frames, C 48 channels, a frame is [C, 1, 8]: one token per visible column.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from longtake.platform.errors import LongtakeError, WeightsError
from longtake.platform.pocket.latent_code import CHANNELS, CODEC, UPSCALE
from longtake.platform.pocket.world import (
    COLUMN_DIMS,
    COLUMN_PX,
    COLUMNS,
    HEIGHT_PX,
    MATERIALS,
    SKIES,
    TRAINING_SEEDS_FROM,
    VIEW_COLUMNS,
    VIEW_PX,
    panorama,
    split_columns,
)

HALF = 127.5


class PocketCodec:
    """mean [384], basis [384, 48] (orthonormal), scale [48], for pixels x / 127.5 - 1."""

    def __init__(self, path: Path = CODEC) -> None:
        try:
            weights = load_file(str(path))
            self.mean, self.basis, self.scale = (weights[name] for name in ("mean", "basis", "scale"))
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise WeightsError(
                f"{path.name}: the pocket codec cannot be read ({error}); install the package again"
            ) from error
        self._to_latent = self.basis * self.scale
        self._to_pixels = (self.basis / self.scale).T.contiguous()

    def encode(self, views_FHWC: np.ndarray) -> torch.Tensor:
        """uint8 [F, 32, 32, 3] -> float32 [F, 48, 1, 8]."""
        return torch.stack([self._encode_columns(view).T[:, None, :] for view in views_FHWC])

    def encode_panorama(self, panorama_HWC: np.ndarray) -> torch.Tensor:
        """uint8 [32, 384, 3] -> float32 [96, 48], equal to `encode` of its views."""
        parts = [panorama_HWC[:, left : left + VIEW_PX] for left in range(0, COLUMNS * COLUMN_PX, VIEW_PX)]
        return torch.cat([self._encode_columns(part) for part in parts])

    def decode(self, latents_FCHW: torch.Tensor) -> np.ndarray:
        """float [F, 48, 1, 8] -> uint8 [F, 32, 32, 3], clipped. Raises LongtakeError for NaN or infinity."""
        if not bool(torch.isfinite(latents_FCHW).all()):
            raise LongtakeError("pocket codec: the latents hold NaN or infinity; the take diverged")
        frames = [self._decode_frame(frame) for frame in latents_FCHW.float().cpu()]
        return np.stack(frames) if frames else np.zeros((0, HEIGHT_PX, VIEW_PX, 3), np.uint8)

    def _encode_columns(self, view_HWC: np.ndarray) -> torch.Tensor:
        columns = torch.from_numpy(split_columns(view_HWC)).float() / HALF - 1
        return (columns - self.mean) @ self._to_latent

    def _decode_frame(self, latent_CHW: torch.Tensor) -> np.ndarray:
        columns = latent_CHW[:, 0, :].T.contiguous() @ self._to_pixels + self.mean
        pixels = ((columns + 1) * HALF).round().clamp(0, 255).to(torch.uint8).numpy()
        blocks = pixels.reshape(VIEW_COLUMNS, HEIGHT_PX, COLUMN_PX, 3)
        return blocks.transpose(1, 0, 2, 3).reshape(HEIGHT_PX, VIEW_PX, 3)


class StreamingDecoder:
    """Decodes latents to 128x128 video frames: 1 for the first latent frame, 4 for each later one.

    Between two latent frames the camera moves one pixel at a time. Pixels come from the newer frame, or from the older
    one at the edge that leaves the view. The fourth step is the newer frame, so latent frame i is video frame 4 i.
    `camera_F`: int [F], one column per step; where it jumps there is a cut, and the newer frame is shown four times.
    """

    def __init__(self, codec: PocketCodec, camera_F: np.ndarray) -> None:
        self._codec, self._camera = codec, np.asarray(camera_F)
        self._index = 0
        self._previous: np.ndarray | None = None

    def push(self, latents_FCHW: torch.Tensor) -> np.ndarray:
        """float [n, 48, 1, 8] -> uint8 [m, 128, 128, 3]; mutates the decoder's position in the video."""
        small = [frame for view in self._codec.decode(latents_FCHW) for frame in self._advance(view)]
        if not small:
            return np.zeros((0, HEIGHT_PX * UPSCALE, VIEW_PX * UPSCALE, 3), np.uint8)
        return np.stack(small).repeat(UPSCALE, axis=1).repeat(UPSCALE, axis=2)

    def _advance(self, view: np.ndarray) -> list[np.ndarray]:
        previous, self._previous = self._previous, view
        index, self._index = self._index, self._index + 1
        if previous is None:
            return [view]
        step = int(self._camera[index] - self._camera[index - 1])
        return slide(previous, view, step) if abs(step) == 1 else [view] * 4


def slide(older_HWC: np.ndarray, newer_HWC: np.ndarray, step: int) -> list[np.ndarray]:
    """The four views of a camera that moves by one column (`step` +1 right, -1 left), one pixel at a time."""
    if step > 0:
        strip = np.concatenate([older_HWC[:, :COLUMN_PX], newer_HWC], axis=1)
        return [strip[:, k : k + VIEW_PX] for k in range(1, COLUMN_PX + 1)]
    strip = np.concatenate([newer_HWC, older_HWC[:, -COLUMN_PX:]], axis=1)
    return [strip[:, k : k + VIEW_PX] for k in range(COLUMN_PX - 1, -1, -1)]


def fit(seed: int = 0, panoramas: int = 800, path: Path = CODEC) -> None:
    """Train the codec: PCA of the columns of training panoramas, each dimension scaled by std^-0.5.

    A common gain then sets the mean square of the latents to 1. Writes `path`.
    """
    first = TRAINING_SEEDS_FROM + seed * panoramas
    total, moment = np.zeros(COLUMN_DIMS), np.zeros((COLUMN_DIMS, COLUMN_DIMS))
    for i in range(panoramas):
        picture = panorama(SKIES[i % 4], MATERIALS[i // 4 % 4], first + i)
        columns = split_columns(picture).astype(np.float64) / HALF - 1
        total += columns.sum(0)
        moment += columns.T @ columns
    mean = total / (panoramas * COLUMNS)
    variance, vectors = np.linalg.eigh(moment / (panoramas * COLUMNS) - np.outer(mean, mean))
    basis, std = vectors[:, ::-1][:, :CHANNELS], np.sqrt(variance[::-1][:CHANNELS])
    basis = basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(CHANNELS)])
    scale = std**-0.5 / np.sqrt(std.mean())
    tensors = {"mean": mean, "basis": basis, "scale": scale}
    save_file({k: torch.from_numpy(np.ascontiguousarray(v)).float() for k, v in tensors.items()}, str(path))
