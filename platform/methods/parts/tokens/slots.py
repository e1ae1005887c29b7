"""What lies in a cache of whole frames and single tokens, as TriAttention leaves it in LongLive's window.

Places are counted in frames' worth of tokens: whole frames, single tokens behind some of them, the other frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from longtake.platform.methods.interface.plan import Tokens, Window


@dataclass(frozen=True)
class Held:
    """`whole`: frames, of which `head` lie before the single tokens; `parts`: which frames' worths of the tokens that
    were chosen are still held."""

    whole: Sequence[int] = ()
    head: int = 0
    parts: Sequence[int] = field(default_factory=lambda: range(0))

    @property
    def frames(self) -> int:
        """Frames' worth of tokens."""
        return len(self.whole) + len(self.parts)

    def plus(self, frames: Iterable[int]) -> Held:
        return replace(self, whole=[*self.whole, *frames])

    def cut(self, head: int, chosen: int, last: int) -> Held:
        """The first `head` frames, so many frames' worth of chosen tokens, and the `last` frames."""
        return Held([*self.whole[:head], *self.whole[len(self.whole) - last :]], head, range(chosen))

    def beside(self, window: Window) -> Held:
        """What stays in the window beside a new block. What is too much leaves from behind as many places as the sink
        has frames, the oldest first."""
        places = [
            *((frame, True) for frame in self.whole[: self.head]),
            *((part, False) for part in self.parts),
            *((frame, True) for frame in self.whole[self.head :]),
        ]
        over = max(0, len(places) + window.block - window.size)
        kept = places[: window.sink] + places[window.sink + over :]
        whole = [place for place, is_frame in kept if is_frame]
        return Held(whole, min(self.head, len(whole)), [place for place, is_frame in kept if not is_frame])

    def of(self, chosen: Tokens | None, size: int) -> Tokens | None:
        """Those of the chosen tokens [h, n] that are held, `size` of them a frame's worth."""
        if chosen is None or not self.parts:
            return None
        if len(self.parts) * size == chosen.frames.shape[-1]:
            return chosen
        kept = np.concatenate([np.arange(part * size, (part + 1) * size) for part in self.parts])
        return Tokens(*(array[..., kept] for array in chosen.arrays))
