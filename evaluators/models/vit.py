"""Vision transformers of timm with the position embeddings of the original DINO and DINOv2 code.

The only importer of timm. timm resizes position embeddings to the exact grid with antialiasing. DINO's code scales them
by (cells + 0.1) / trained cells, bicubic, without antialiasing, which changes scores. Resized embeddings are cached.

Shapes: frames_NCHW float [n, 3, H, W]; tokens [n, 1 + cells, width], the class token first.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.platform.machine.vision_ops import ready

WIDTH, DEPTH, HEADS = 768, 12, 12
# Added to a grid's size before it is divided, so that rounding cannot lose a cell (DINO, interpolate_pos_encoding).
OFFSET = 0.1


def vit_base(image_size: int, patch: int, eps: float = 1e-6, act: type[nn.Module] = nn.GELU, **more: Any) -> nn.Module:
    """timm's ViT-B without a head, for square images of `image_size`; `more`: further keywords of its class."""
    ready()
    from timm.models.vision_transformer import VisionTransformer

    network: nn.Module = VisionTransformer(
        img_size=image_size,
        patch_size=patch,
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        num_classes=0,
        norm_layer=partial(nn.LayerNorm, eps=eps),
        act_layer=act,
        **more,
    )
    return network


class OriginalVit(nn.Module):
    """A ViT with the original position embeddings. Returns the normalized class token [n, width]."""

    def __init__(self, vit: Any):
        super().__init__()
        self.vit = vit
        self._positions: dict[tuple[int, int, bool, torch.device], Tensor] = {}

    def forward(self, frames_NCHW: Tensor) -> Tensor:
        """Crops the right and bottom edges if a side is not a multiple of the patch size."""
        return self.vit.norm(self.blocks_out(frames_NCHW)[:, 0])

    def blocks_out(self, frames_NCHW: Tensor) -> Tensor:
        """Tokens after the last block, before the final norm."""
        cells = self.vit.patch_embed.proj(frames_NCHW)
        tokens = torch.cat([self.vit.cls_token.expand(len(cells), -1, -1), cells.flatten(2).transpose(1, 2)], dim=1)
        square = frames_NCHW.shape[-2] == frames_NCHW.shape[-1]
        return self.vit.blocks(self.vit.pos_drop(tokens + self.positions(cells.shape[-2], cells.shape[-1], square)))

    def positions(self, rows: int, columns: int, square: bool) -> Tensor:
        """Position embeddings [1, 1 + rows * columns, width]; `square`: whether the frames are square in pixels."""
        trained: Tensor = self.vit.pos_embed
        key = (rows, columns, square, trained.device)
        if key not in self._positions:
            self._positions[key] = resized(trained, rows, columns, square)
        return self._positions[key]


def resized(trained: Tensor, rows: int, columns: int, square: bool) -> Tensor:
    """Position embeddings of a square grid [1, 1 + side^2, width], resized to another grid as in DINO.

    Only square frames use the trained grid unchanged: frames of 224x239 have the same cells but are resized.
    """
    side = math.isqrt(trained.shape[1] - 1)
    if square and rows * columns == side * side:
        return trained
    grid = trained[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = ((rows + OFFSET) / side, (columns + OFFSET) / side)
    grid = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
    return torch.cat([trained[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in tensors.items()}
