"""How much the queries of the newest frames ask for a key, as Deep Forcing sums it.

Shapes: h heads, C candidates, d head dim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.platform.methods.interface.hooks import Seen
    from longtake.platform.methods.parts.tokens.candidates import Candidates


class RecentQueries:
    """Queries of the newest committed frames before rotation [h, .., d], per row and layer; `size`: tokens a frame."""

    def __init__(self, size: int):
        self.size = size
        self.kept: dict[tuple[int, int], Tensor] = {}

    def keep(self, seen: Seen, frames: int) -> None:
        """Keep those of the last `frames` frames, if this is a commit pass."""
        if "commit" in seen.passes:
            others = seen.query.shape[1] - frames * self.size
            self.kept[seen.row, seen.layer] = seen.query[:, others:].clone()

    def products(self, seen: Seen, found: Candidates, before: range) -> np.ndarray:
        """[C]: of rotated keys with the sum of the rotated queries of the frames `before`, which were kept, and of the
        new ones; summed over heads."""
        asked = seen.rotated_query.float().sum(1)
        for i, frame in enumerate(before):
            query = self.kept[seen.row, seen.layer][:, i * self.size : (i + 1) * self.size]
            asked = asked + seen.rotate(query, frame, frame).float().sum(1)
        products: np.ndarray = (found.keys.float() * asked[:, None]).sum((0, 2)).cpu().numpy()
        return products
