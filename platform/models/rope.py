"""Rotary positions over time, row and column (Su et al. 2021; the three-axis split is Wan's).

Owns the angles and the rotation. Keys are cached before rotation and rotated to the positions of a plan, so a position
is always an argument and never state.

Shapes: B batch, N tokens, h heads, d head dim, c = d / 2 complex pairs, T tokens of one frame.
"""

from functools import lru_cache

import torch
from torch import Tensor

from longtake.platform import kernels
from longtake.platform.models.spec import Split

CPU = torch.device("cpu")


def axis_angles(positions: Tensor, pairs: int, theta: float) -> Tensor:
    """Angles [len(positions), pairs] in float64: position * theta ** (-j / pairs)."""
    exponents = torch.arange(pairs, dtype=torch.float64, device=positions.device) / max(pairs, 1)
    return torch.outer(positions.double(), theta**-exponents)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def frame_rotation(
    time: int, rows: int, columns: int, left: int, split: Split, theta: float, device: torch.device = CPU
) -> Tensor:
    """Cosines and sines [rows * columns, c, 2] for one frame at time index `time`, its left edge at column `left`.

    Angles are computed in float64 and rounded once, to float32.
    """
    over_time = axis_angles(torch.full((1,), time, device=device), split[0], theta).expand(rows, columns, -1)
    over_rows = axis_angles(torch.arange(rows, device=device), split[1], theta)[:, None].expand(-1, columns, -1)
    positions = torch.arange(columns, device=device) + left
    over_columns = axis_angles(positions, split[2], theta)[None].expand(rows, -1, -1)
    angles = torch.cat([over_time, over_rows, over_columns], dim=-1).flatten(0, 1)
    return torch.stack([angles.cos(), angles.sin()], dim=-1).float()


def token_rotation(times: Tensor, tokens: Tensor, lefts: Tensor, columns: int, split: Split, theta: float) -> Tensor:
    """Cosines and sines [..., c, 2] for single tokens [...]: `tokens` counts row by row in frames of `columns` columns,
    which are at time indices `times` and have their left edges at `lefts`."""
    rows, places = tokens // columns, tokens % columns + lefts
    axes = zip((times, rows, places), split, strict=True)
    parts = [axis_angles(at.flatten(), pairs, theta).unflatten(0, at.shape) for at, pairs in axes]
    angles = torch.cat(parts, dim=-1)
    return torch.stack([angles.cos(), angles.sin()], dim=-1).float()


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate x [..., N, h, d], in pairs of neighbouring numbers (2i, 2i + 1), by rotation [..., N, c, 2].

    Computed in float32, as one complex product, and rounded back.
    """
    pairs, angles = x.float().unflatten(-1, (-1, 2)), rotation.unsqueeze(-3)
    rotated = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(angles))
    return rotated.flatten(-2).to(x.dtype)


def rotated(x_BNhd: Tensor, rotation: Tensor) -> Tensor:
    """x, rotated by rotation [B or 1, N, c, 2], as attention reads it: [B, h, N, d], a view of [B, N, h, d]."""
    if not kernels.used_on(x_BNhd.device):
        return rotate(x_BNhd, rotation).transpose(1, 2)
    from longtake.platform.kernels.rotate import rotate_into as launch

    out = torch.empty(x_BNhd.shape, dtype=x_BNhd.dtype, device=x_BNhd.device).transpose(1, 2)
    launch(x_BNhd, rotation, out)
    return out


def rotate_into(x_BNhd: Tensor, rotation: Tensor, out_BhNd: Tensor) -> None:
    """Write x, rotated by rotation [B or 1, N, c, 2], to `out`. On CUDA with Triton this is one pass over memory."""
    if not kernels.used_on(x_BNhd.device):
        out_BhNd.copy_(rotate(x_BNhd, rotation).transpose(1, 2))
        return
    from longtake.platform.kernels.rotate import rotate_into as launch

    launch(x_BNhd, rotation, out_BhNd)
