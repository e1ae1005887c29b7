"""RAFT (Teed and Deng, 2020) in torchvision's modules: dynamic_degree. The only importer of torchvision.

Weights: raft-things.pth, or torchvision's raft_large_C_T_V1, which has the same numbers under other names. Frames are
encoded (`features`, `context`) separately from `flow`, so that a frame in two pairs is encoded once. Only the last
iteration is upsampled. Neither changes a bit of the flow.

Shapes: frames_NCHW float [n, 3, H, W], RGB 0..255, sides multiples of 8; features [n, 256, H/8, W/8]; context the same.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.evaluators.models.base import Network, Tensors, networks
from longtake.evaluators.models.vit import prefixed
from longtake.platform.machine.vision_ops import ready

HIDDEN = 128
LEVELS = 4
# With smaller frames the coarsest correlation is one cell wide, and the published sampling divides by zero.
SMALLEST = 8 * 2**LEVELS
ITERATIONS = 20
# Official name -> torchvision's, in this order; `norm3` is the module that is also `downsample.1`.
RENAMES = (
    (r"^fnet\.", "feature_encoder."),
    (r"^cnet\.", "context_encoder."),
    (r"encoder\.conv1\.", "encoder.convnormrelu.0."),
    (r"encoder\.norm1\.", "encoder.convnormrelu.1."),
    (r"encoder\.conv2\.", "encoder.conv."),
    (r"(layer\d\.\d)\.conv(\d)\.", r"\1.convnormrelu\2.0."),
    (r"(layer\d\.\d)\.norm([12])\.", r"\1.convnormrelu\2.1."),
    (r"^update_block\.mask\.0\.", "mask_predictor.convrelu.0."),
    (r"^update_block\.mask\.2\.", "mask_predictor.conv."),
    (r"^update_block\.encoder\.convc(\d)\.", r"update_block.motion_encoder.convcorr\1.0."),
    (r"^update_block\.encoder\.convf(\d)\.", r"update_block.motion_encoder.convflow\1.0."),
    (r"^update_block\.encoder\.conv\.", "update_block.motion_encoder.conv.0."),
    (r"^update_block\.gru\.conv(.)(\d)\.", r"update_block.recurrent_block.convgru\2.conv\1."),
)
TWIN = re.compile(r"\.layer\d\.\d\.norm3\.")


class Flow(nn.Module):
    """RAFT with separate stages. Returns the flow from the first frame to the second."""

    def __init__(self, raft: Any):
        super().__init__()
        self.raft = raft

    def forward(self, first_NCHW: Tensor, second_NCHW: Tensor, iters: int = ITERATIONS) -> Tensor:
        first, second = self.features(torch.cat([first_NCHW, second_NCHW])).chunk(2)
        return self.flow(first, second, self.context(first_NCHW), iters)

    def features(self, frames_NCHW: Tensor) -> Tensor:
        """The features of each frame that are matched between frames."""
        features: Tensor = self.raft.feature_encoder(normed(frames_NCHW))
        return features

    def context(self, frames_NCHW: Tensor) -> Tensor:
        """The context features of the first frame of each pair."""
        context: Tensor = self.raft.context_encoder(normed(frames_NCHW))
        return context

    def flow(self, features1: Tensor, features2: Tensor, context: Tensor, iters: int = ITERATIONS) -> Tensor:
        """Flow [n, 2, H, W] in pixels, x before y. Raises ValueError for frames under SMALLEST pixels."""
        if min(features1.shape[-2:]) * 8 < SMALLEST:
            raise ValueError(f"RAFT needs {SMALLEST} pixels a side, padded; got {min(features1.shape[-2:]) * 8}")
        self.raft.corr_block.build_pyramid(features1, features2)
        hidden, context = context.split([HIDDEN, context.shape[1] - HIDDEN], dim=1)
        hidden, context = hidden.tanh(), context.relu()
        start = grid(features1)
        coordinates = start
        for _ in range(iters):
            correlation = self.raft.corr_block.index_pyramid(centroids_coords=coordinates)
            hidden, change = self.raft.update_block(hidden, context, correlation, coordinates - start)
            coordinates = coordinates + change
        self.raft.corr_block.corr_pyramid = []  # quadratic in cells: 150 MB at 480x832
        return upsampled(coordinates - start, self.raft.mask_predictor(hidden))


def normed(frames_NCHW: Tensor) -> Tensor:
    """0..255 -> -1..1."""
    return (2 * (frames_NCHW / 255.0) - 1.0).contiguous()


def grid(features: Tensor) -> Tensor:
    """Cell coordinates [n, 2, h, w], x before y."""
    rows, columns = (torch.arange(size, device=features.device) for size in features.shape[-2:])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y]).float().expand(len(features), -1, -1, -1)


def upsampled(flow: Tensor, mask: Tensor) -> Tensor:
    """Flow [n, 2, h, w] in cells -> [n, 2, 8h, 8w] in pixels: each a convex mix of nine cells (RAFT, section 3.3)."""
    n, _, h, w = flow.shape
    weights = mask.view(n, 1, 9, 8, 8, h, w).softmax(dim=2)
    cells = F.unfold(8 * flow, kernel_size=3, padding=1).view(n, 2, 9, 1, 1, h, w)
    return (weights * cells).sum(dim=2).permute(0, 1, 4, 2, 5, 3).reshape(n, 2, 8 * h, 8 * w)


def torchvision_name(official: str) -> str:
    name = official
    for pattern, to in RENAMES:
        name = re.sub(pattern, to, name)
    return name


@networks.register("raft")
class Raft(Network):
    name = "raft"
    artefacts = ("raft-things",)
    packages = ("torchvision",)

    def build(self) -> nn.Module:
        ready()
        from torchvision.models.optical_flow import raft_large

        return Flow(raft_large(weights=None))

    def rename(self, published: Mapping[str, Tensors], settings: Mapping[str, Any]) -> dict[str, Tensor]:
        """Accepts official names and torchvision's."""
        named = {
            torchvision_name(name): value for name, value in published["raft-things"].items() if not TWIN.search(name)
        }
        return prefixed(named, "raft.")
