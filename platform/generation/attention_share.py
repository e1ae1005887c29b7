"""Measures the share of a block's attention on each frame that it attends, in one pass of the network.

The share of a frame is the softmax mass on its tokens, averaged over layers, heads and the block's query tokens. It is
computed in float32 from the queries and keys that attention reads, and does not affect the result. Scores are computed
for a few queries at a time, so memory does not grow with the square of the number of tokens.

Shapes: L layers, B batch, h heads, N query tokens, d head dim, T tokens a frame, S frames attended.
"""

import torch
from torch import Tensor

SCORES = 2**25
"""Size of the largest matrix of scores, in numbers."""


class AttentionShares:
    """The share of each slot of a context buffer, summed over layers; stays on the device."""

    def __init__(self, frame_tokens: int):
        self.frame_tokens = frame_tokens
        self.layers: list[Tensor] = []

    def add(self, query: Tensor, keys: Tensor) -> None:
        """Add one layer's rotated queries [B, h, N, d] and keys [B, h, S * T, d]."""
        self.layers.append(torch.stack([self.of_row(*row) for row in zip(query, keys, strict=True)]))

    def of_row(self, query: Tensor, keys: Tensor) -> Tensor:
        """[h, N, d] and [h, S * T, d] -> mean share [S], row by row: a batch sums in the order of single takes."""
        heads, tokens, dim = query.shape
        scaled_keys = keys.float().transpose(1, 2) * dim**-0.5
        mass = query.new_zeros(keys.shape[1], dtype=torch.float32)
        for part in query.float().split(max(1, SCORES // (heads * keys.shape[1])), dim=1):
            mass += (part @ scaled_keys).softmax(-1).sum(dim=(0, 1))
        return mass.unflatten(0, (-1, self.frame_tokens)).sum(1) / (heads * tokens)

    def in_order(self, slots: list[list[int]]) -> Tensor:
        """[B, S]: the mean over layers, for each row's slots in the order given."""
        mean = torch.stack(self.layers).mean(0)
        return mean.gather(1, torch.tensor(slots).to(mean.device, non_blocking=True))
