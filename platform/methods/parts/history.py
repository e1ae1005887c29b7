"""How Relax Forcing finds a frame of the past that is like the first frames and unlike the newest.

Shapes: c candidates, n frames, E numbers of a mean key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from longtake.platform.methods.parts.descriptors import unit_length

if TYPE_CHECKING:
    from torch import Tensor


def spread_out(frames: int, most: int) -> Tensor:
    """[c]: the candidates among so many frames, as places among them: at most `most` numbers that divide the second
    half evenly, rounded down, without repetitions. They come with one more, the last frame, which is left out."""
    import torch

    count = min(most, frames - frames // 2)
    steps = torch.linspace(frames // 2, frames - 1, count + 1).long().unique()
    return steps[:-1] if count > 1 else steps[:1]


def scores(keys: Tensor, sink: Tensor, tail: Tensor, redundancy: float) -> Tensor:
    """[c]: the cosine of candidates' mean keys [c, E] with the mean of the sink's [n, E], less `redundancy` times that
    with the tail's. Of no frames, the cosine is 0."""
    import torch

    means = [part.mean(0) if len(part) else part.new_zeros(part.shape[1]) for part in (sink, tail)]
    similarity = unit_length(keys) @ unit_length(torch.stack(means)).T
    return similarity[:, 0] - redundancy * similarity[:, 1]
