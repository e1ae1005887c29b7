"""Keys and values pulled towards those of other frames, as TetherCache edits the frames that join its memory.

Shapes: T tokens of a frame, M tokens of the others, d head dim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pulled(x: Tensor, past: Tensor, tau: float) -> Tensor:
    """x [.., T, d] towards the mean and the population standard deviation of `past` [.., M, d] over tokens."""
    own, others = x.float(), past.float()
    mean, past_mean = (y.mean(-2, keepdim=True) for y in (own, others))
    spread, past_spread = (y.std(-2, correction=0, keepdim=True).clamp(min=1e-6) for y in (own, others))
    return ((1 - tau) * own + tau * ((own - mean) / spread * past_spread + past_mean)).to(x.dtype)
