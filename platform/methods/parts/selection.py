"""Selection rules of retrieval: pure functions over the frames that a block may retrieve, in float32.

Every rule returns positions in a list of frames, the oldest frame at position 0. Equal scores go to the older frame.

Legend: F eligible frames, N all frames, E numbers of a descriptor. Descriptors called unit have length 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

FEWER = 50
"""A step over F x F numbers, which waits for memory, takes as long as this many multiply-adds for each of them."""


def sequence_similarity(unit_NE: Tensor, frames_F: Tensor, length: int) -> Tensor:
    """[F]: how much the newest `length` frames look like those around each frame, walked in either direction.

    With v_N-1 the newest descriptor, the score of frame i is the larger of the means over j < length of
    cos(v_N-1-j, v_i+j), the way back, and cos(v_N-1-j, v_i-j), the same way again; what does not exist counts as 0.
    """
    import torch

    count, length = len(unit_NE), min(length, len(unit_NE))
    steps = torch.arange(length)
    cosines = unit_NE @ unit_NE[count - 1 - steps].T
    scores = []
    for direction in (1, -1):
        places = frames_F[:, None] + direction * steps
        exists = (places >= 0) & (places < count)
        scores.append((cosines[places.clamp(0, count - 1), steps] * exists).mean(1))
    return torch.maximum(*scores)


def most_similar(similarity_F: Tensor, tolerance: float = 0.0) -> Tensor:
    """All positions, the most similar first. Frames within `tolerance` of the best count as equal to each other."""
    best = similarity_F.max() - tolerance
    return similarity_F.clamp(max=best).sort(descending=True, stable=True).indices


def nearest_in_time(anchor: int, frames_F: Tensor) -> Tensor:
    """All positions by the distance of their frame to the frame at position `anchor`; the anchor itself comes last."""
    return (frames_F - frames_F[anchor]).abs().sort(stable=True).indices.roll(-1)


def earliest_unchanged(
    frames_F: Tensor,
    unit_FE: Tensor,
    similarity_F: Tensor,
    tolerance: float,
    unchanged: float,
    reach: int,
) -> int:
    """Position of the earliest frame within `tolerance` of the best around which all is as it was seen last.

    The newest frame within `tolerance` shows how the place was seen last. An earlier one is as good if each frame at
    most `reach` frames from the newest one looks like some frame at most `reach` + 2 frames from the earlier one (the
    camera may have passed in other steps), with a cosine of at least `unchanged`.
    """
    near: list[int] = (similarity_F >= similarity_F.max() - tolerance).nonzero().flatten().tolist()
    last = unit_FE[(frames_F - frames_F[near[-1]]).abs() <= reach]
    for position in near[:-1]:
        then = unit_FE[(frames_F - frames_F[position]).abs() <= reach + 2]
        if (last @ then.T).amax(1).amin() >= unchanged:
            return position
    return near[-1]


def without_duplicates(order_F: Tensor, unit_FE: Tensor, duplicate: float, count: int) -> Tensor:
    """`count` positions in this order. A frame whose cosine to a chosen one is at least `duplicate` is taken only when
    all others are used up."""
    import torch

    chosen = list[int]()
    free = torch.ones(len(order_F), dtype=torch.bool)
    while len(chosen) < count and free.any():
        chosen.append(int(order_F[free[order_F]][0]))
        free &= unit_FE @ unit_FE[chosen[-1]] < duplicate
        free[chosen[-1]] = False
    taken = torch.tensor(chosen)
    rest = order_F[~torch.isin(order_F, taken)]
    return torch.cat([taken, rest[: count - len(chosen)]])


def greedy_coverage(unit_FE: Tensor, weights_F: Tensor, count: int) -> Tensor:
    """`count` positions that together explain the most of all descriptors: greedy column subset selection.

    With d_j of length 1 and r_j its part that the chosen frames do not span (at first all of d_j), the next frame is
    the i that maximises sum_j w_j (r_i . r_j)^2 / |r_i|^2, the weighted residual that it removes. Choosing i takes
    (r_k . r_i) r_i / |r_i|^2 from every r_k. A frame that is spanned (|r_i|^2 < 1e-4) explains nothing more and comes
    after all others, the oldest first.

    The numerator is also r_i^T S r_i with S = sum_j w_j r_j r_j^T [E, E], whose cost grows with F. For long descriptors
    of few frames the products r_i . r_j [F, F] cost less, and they suffice.
    """
    import torch

    chosen = list[int]()
    products = unit_FE.shape[1] ** 2 > FEWER * len(unit_FE)
    left = unit_FE @ unit_FE.T if products else unit_FE
    for _ in range(count):
        if products:
            norms, explained = left.diagonal(), left.square() @ weights_F
        else:
            spread = left.T @ (left * weights_F[:, None])
            norms, explained = left.square().sum(1), (left @ spread * left).sum(1)
        gains = torch.where(norms < 1e-4, -1.0, explained / norms.clamp(min=1e-4))
        gains[chosen] = -2.0
        best = int(gains.argmax())
        chosen.append(best)
        if gains[best] >= 0:
            along = left[:, best] if products else left @ left[best]
            left = left - torch.outer(along / norms[best], left[best])
    return torch.tensor(chosen)
