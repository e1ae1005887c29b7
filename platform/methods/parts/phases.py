"""Past frames at a distance of whole periods."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Phases:
    """The last `kept` frames of a phase, which is their number modulo `period`; `block`: frames per block."""

    period: int
    kept: int
    block: int

    def last(self, first: int, phase: int) -> range:
        """Those before block `first`, oldest first; before enough frames exist, some are negative."""
        last = first - 1 - (first - 1 - phase) % self.period
        return range(last - self.period * (self.kept - 1), last + 1, self.period)

    def needed(self, first: int) -> list[int]:
        """Frames before block `first` that it or a later block may ask for: of phase 0, and of that of its own middle
        frame."""
        middles = range(self.block // 2, self.period * self.block, self.block)
        phases = {0, *(middle % self.period for middle in middles)}
        return [f for f in range(max(0, first - self.kept * self.period), first) if f % self.period in phases]
