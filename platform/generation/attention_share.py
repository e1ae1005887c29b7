"""How much of a block's attention falls on each frame that it attends: one pass of the network, measured.

The mass of a frame is what its tokens get of the softmax, averaged over layers, heads and the block's query tokens. It
is computed in float32 from the very queries and keys that attention reads, beside it, and changes nothing. Scores are
held for a few queries at a time, so the measurement's room does not grow with the square of the tokens.

Shapes: L layers, B batch, h heads, N query tokens, d head dim, T tokens a frame, S frames attended.
"""

import torch
from torch import Tensor

SCORES = 2**25
"""Numbers of the largest table of scores."""


class AttentionShares:
    """Mass per slot of a context buffer, added up layer by layer; stays on the device."""

    def __init__(self, frame_tokens: int):
        self.frame_tokens = frame_tokens
        self.layers: list[Tensor] = []

    def add(self, query: Tensor, keys: Tensor) -> None:
        """One layer's rotated queries [B, h, N, d] and keys [B, h, S * T, d]."""
        self.layers.append(torch.stack([self.of_row(*row) for row in zip(query, keys, strict=True)]))

    def of_row(self, query: Tensor, keys: Tensor) -> Tensor:
        """[h, N, d] and [h, S * T, d] -> mean mass [S]. Row by row: a batch sums in the order of single takes."""
        heads, tokens, dim = query.shape
        turned = keys.float().transpose(1, 2) * dim**-0.5
        mass = query.new_zeros(keys.shape[1], dtype=torch.float32)
        for part in query.float().split(max(1, SCORES // (heads * keys.shape[1])), dim=1):
            mass += (part @ turned).softmax(-1).sum(dim=(0, 1))
        return mass.unflatten(0, (-1, self.frame_tokens)).sum(1) / (heads * tokens)

    def in_order(self, slots: list[list[int]]) -> Tensor:
        """[B, S]: the mean over layers, for each row's slots in the order given."""
        mean = torch.stack(self.layers).mean(0)
        return mean.gather(1, torch.tensor(slots).to(mean.device, non_blocking=True))
