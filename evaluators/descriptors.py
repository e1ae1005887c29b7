"""A classical image descriptor that replaces DINO and CLIP in a suite without downloads.

It has two halves of equal weight: edge directions (histograms of oriented gradients, Dalal and Triggs 2005: 8 px cells,
9 unsigned directions, 2x2-cell blocks, L2) and colour layout (8x8 means of Y, Cr, Cb about mid-grey). Both halves are
unit vectors, so the cosine of two descriptors is the mean of two cosines. All functions take 64x64 images; none knows
clips or scores.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from longtake.evaluators.views import THUMB_PX, Frames

Features = NDArray[np.float32]

SIDE_PX = 64
CELL_PX = 8
CELLS = SIDE_PX // CELL_PX
DIRECTIONS = 9
# Gradient noise of an 8-bit image; without it, a flat region's histogram would contain only coding noise.
GRADIENT_FLOOR = 8.0


def subject_features(thumbs_NHWC: Frames) -> Features:
    """Features [n, D] of the central quarter of the picture (half the width, half the height)."""
    edge = (THUMB_PX - SIDE_PX) // 2
    centre = thumbs_NHWC[:, edge : edge + SIDE_PX, edge : edge + SIDE_PX]
    every_block = np.ones((CELLS - 1, CELLS - 1), dtype=bool)
    return _features(centre, every_block, np.ones((CELLS, CELLS), dtype=bool))


def background_features(thumbs_NHWC: Frames) -> Features:
    """Features [n, D] of the picture without its central quarter."""
    whole = np.stack([cv2.resize(t, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA) for t in thumbs_NHWC])
    cells = np.ones((CELLS, CELLS), dtype=bool)
    cells[CELLS // 4 : -CELLS // 4, CELLS // 4 : -CELLS // 4] = False
    blocks = np.ones((CELLS - 1, CELLS - 1), dtype=bool)
    blocks[CELLS // 4 : -CELLS // 4, CELLS // 4 : -CELLS // 4] = False
    return _features(whole, blocks, cells)


def _features(images_NHWC: Frames, blocks: NDArray[np.bool_], cells: NDArray[np.bool_]) -> Features:
    grey = np.stack([cv2.cvtColor(im, cv2.COLOR_RGB2GRAY) for im in images_NHWC]).astype(np.float32)
    edges = _block_normalised(_direction_histograms(grey))[:, blocks].reshape(len(grey), -1)
    ycc = np.stack([cv2.cvtColor(im, cv2.COLOR_RGB2YCrCb) for im in images_NHWC]).astype(np.float32)
    layout = (_cell_means(ycc) - 128.0)[:, cells].reshape(len(grey), -1)
    return (np.concatenate([_unit(edges), _unit(layout)], axis=1) / math.sqrt(2.0)).astype(np.float32)


def _direction_histograms(grey_NHW: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n, 8, 8, 9]: gradient magnitude per cell and direction, each pixel split between its two nearest directions."""
    padded = np.pad(grey_NHW, ((0, 0), (1, 1), (1, 1)), mode="edge")
    dx = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    dy = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    magnitude = np.hypot(dx, dy)
    angle = np.arctan2(dy, dx) * (DIRECTIONS / np.pi) % DIRECTIONS
    parts = []
    for k in range(DIRECTIONS):
        away = np.abs(angle - k)
        near = np.maximum(0.0, 1.0 - np.minimum(away, DIRECTIONS - away))
        parts.append(_cell_means((magnitude * near)[..., None])[..., 0])
    return np.stack(parts, axis=-1)


def _cell_means(images_NHWC: NDArray[np.float32]) -> NDArray[np.float32]:
    n, _, _, channels = images_NHWC.shape
    return images_NHWC.reshape(n, CELLS, CELL_PX, CELLS, CELL_PX, channels).mean(axis=(2, 4))


def _block_normalised(cells_NYXD: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n, 7, 7, 36]: each 2x2 block of cells divided by its length plus the noise floor."""
    c = cells_NYXD
    blocks = np.concatenate([c[:, :-1, :-1], c[:, :-1, 1:], c[:, 1:, :-1], c[:, 1:, 1:]], axis=-1)
    return blocks / (np.linalg.norm(blocks, axis=-1, keepdims=True) + GRADIENT_FLOOR)


def _unit(vectors_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale to unit length; a small constant entry gives a zero vector (a flat grey picture) a direction."""
    with_constant = np.pad(vectors_ND, ((0, 0), (0, 1)), constant_values=1e-3)
    return with_constant / np.linalg.norm(with_constant, axis=1, keepdims=True)
