"""Groups of consecutive frames whose neighbouring tokens are averaged into one.

Shapes: L layers, B batch, T tokens a frame, P merged tokens, h heads, d head dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longtake.platform.methods.interface.plan import Attended

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.platform.methods.interface.hooks import Cache
    from longtake.platform.models.spec import DiTSpec


@dataclass(frozen=True)
class MergedGroups:
    """Entries of `span` = side ** 2 frames each, from a multiple of `span` on, in squares of `side` x `side` tokens.
    The last `kept` complete ones are held."""

    spec: DiTSpec
    side: int
    kept: int

    @property
    def span(self) -> int:
        return self.side**2

    def past(self, first: int, since: int, until: int) -> list[Attended]:
        """Of the groups that are held when block `first` begins, those whose frames are `since` or newer and older than
        `until`. Each is at the time index of the last frame of its first half."""
        last = first // self.span * self.span
        starts = range(max(0, last - self.kept * self.span), last, self.span)
        return [self.entry(start) for start in starts if since <= start <= until - self.span]

    def entry(self, start: int) -> Attended:
        middle, end = start + (self.span - 1) // 2, start + self.span - 1
        squares = -(-self.spec.token_rows // self.side) * -(-self.spec.token_columns // self.side)
        return Attended(middle, middle, "summary", entry=f"{start}-{end}", part=squares / self.spec.frame_tokens)

    def update(self, new: range, cache: Cache) -> None:
        """Derive the groups that the new frames complete, and drop the oldest."""
        for start in range(new.start // self.span * self.span, new.stop - self.span + 1, self.span):
            frames = [cache.frame(frame) for frame in range(start, start + self.span)]
            cache.derive(source(self.entry(start)), merged(frames, self.spec, self.side))
            if start >= self.kept * self.span:
                cache.forget(source(self.entry(start - self.kept * self.span)))


def source(at: Attended) -> tuple[str, int]:
    return at.entry, at.frame


def merged(frames: Sequence[Tensor], spec: DiTSpec, side: int) -> Tensor:
    """[2, L, B, P, h, d]: the means of `frames` [2 (key before rotation, value), L, B, T, h, d] over all frames and the
    tokens of each square, row by row. Squares at the right and lower edge may be cut.

    A merged token belongs at the first place of its square, but the engine rotates the token i of an entry to the place
    i of a frame. So the keys are turned by as many rows and columns as lie between the two."""
    import torch
    from torch.nn.functional import avg_pool2d

    from longtake.platform.models.rope import axis_angles, rotate

    rows = []
    for row in range(frames[0].shape[2]):
        total = frames[0][:, :, row].float()
        for frame in frames[1:]:
            total = total + frame[:, :, row].float()
        mean = (total / len(frames)).permute(0, 1, 3, 4, 2)
        grid = mean.reshape(-1, 1, spec.token_rows, spec.token_columns)
        pooled = avg_pool2d(grid, side, ceil_mode=True, count_include_pad=False)
        rows.append(pooled.reshape(*mean.shape[:-1], -1).permute(0, 1, 4, 2, 3))
    entry, columns = torch.stack(rows, dim=2), spec.token_columns
    at, across = torch.arange(entry.shape[3], device=entry.device), -(-columns // side)
    down, right = at // across * side - at // columns, at % across * side - at % columns
    axes = zip((torch.zeros_like(at), down, right), spec.split, strict=True)
    angles = torch.cat([axis_angles(away, pairs, spec.rope_theta) for away, pairs in axes], dim=-1)
    entry[0] = rotate(entry[0], torch.stack([angles.cos(), angles.sin()], dim=-1).float())
    return entry.to(frames[0].dtype)
