"""Tokens that a method with groups may keep or let go, per head, with their keys.

Shapes: h heads, C candidates, T tokens a frame, d head dim. An id is frame * T + token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from longtake.platform.methods.interface.plan import Tokens

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.platform.methods.interface.hooks import Seen


@dataclass(frozen=True)
class Candidates:
    """`ids` [h, C], ascending, and `keys` [h, C, d] before rotation, of frames of `size` tokens."""

    ids: Tensor
    keys: Tensor
    size: int

    def best(self, scores: Tensor, count: int) -> Tokens:
        """The `count` tokens of the highest scores [h, C] per head, oldest first, at their own time indices; of equals
        the older."""
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :count]
        kept = self.ids.gather(1, order).sort(dim=1).values
        frames, tokens = (kept // self.size).cpu().numpy(), (kept % self.size).cpu().numpy()
        return Tokens(frames, tokens, frames)


def candidates(seen: Seen, frames: range, size: int) -> Candidates:
    """The tokens of those of `frames` that `seen` attends whole, and all single tokens that it attends; `size`: tokens
    a frame."""
    import torch

    heads, at = len(seen.heads), len(seen.sources) * size
    whole = [frame for frame in (*seen.sources, *seen.new) if isinstance(frame, int) and frame in frames]
    ids = [torch.arange(frame * size, (frame + 1) * size).expand(heads, -1) for frame in whole]
    starts = [seen.start(frame, size) for frame in whole]
    keys = [seen.keys[:, start : start + size] for start in starts]
    if seen.picked is not None:
        ids.append(torch.from_numpy(seen.picked.frames * size + seen.picked.tokens).expand(heads, -1))
        keys.append(seen.keys[:, at : at + ids[-1].shape[1]])
    ordered, order = torch.cat(ids, dim=1).to(seen.keys.device).sort(dim=1)
    joined = torch.cat(keys, dim=1)
    return Candidates(ordered, joined.gather(1, order[..., None].expand(-1, -1, joined.shape[2])), size)
