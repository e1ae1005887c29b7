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


def candidates(seen: Seen, frames: list[int], new: int, size: int) -> Candidates:
    """All tokens of `frames`, which `seen` attends whole, and the single tokens that it attends. `new`: the first frame
    that the pass computes."""
    import torch

    heads, at = len(seen.heads), len(seen.sources) * size
    ids = [torch.arange(frame * size, (frame + 1) * size).expand(heads, -1) for frame in frames]
    starts = [seen.start(frame, new, size) for frame in frames]
    keys = [seen.keys[:, start : start + size] for start in starts]
    if seen.picked is not None:
        ids.append(torch.from_numpy(seen.picked.frames * size + seen.picked.tokens))
        keys.append(seen.keys[:, at : at + ids[-1].shape[1]])
    ordered, order = torch.cat(ids, dim=1).to(seen.keys.device).sort(dim=1)
    joined = torch.cat(keys, dim=1)
    return Candidates(ordered, joined.gather(1, order[..., None].expand(-1, -1, joined.shape[2])), size)
