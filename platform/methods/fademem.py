"""FadeMem: old frames fade into one another; the older, the more of them share a slot (2026; training-free).

Beside the block itself a number of slots is attended. A slot holds the keys and values of a run of frames; its name is
centre x span, as in `29x4`. When block f begins, the frames of the block before join one by one, with span 1. As soon
as there is a slot too many, the two neighbours i, i+1 with the smallest |a_i^b - a_(i+1)^b| become one, with the age
a = f - centre and b = `warp_beta`; the older pair of equals, and never the newest pair. Keys (before rotation) and
values are averaged with weights span^g / sum, g = `span_gamma`; spans add up; the centre is the mean of both, weighted
by span, rounded half to even. Frame 0 is an anchor: what merges with it only adds to its span.

Time indices: while f < 18, or slots are free, a slot lies at its centre and the block at its own frames. Then the block
is at 18, 19, 20, frame 0 at 0, the three newest slots at 15, 16, 17. The others, oldest first, are a gap g before 18,
the g with the least |g^b - a^b| (a and g from 4 to 17) below the slot before's that leaves one for each slot to come.

All layers and rows share one schedule. The released file stops at its first merge, at an undefined name; with it, it
follows these rules. In the pocket world a slot lies at the column of its centre.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Self

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Cache, Latent, Method, MethodConfig, RolloutInfo, methods
from longtake.platform.methods.interface.plan import Attended, Plan, Window
from longtake.platform.methods.parts.ranges import within
from longtake.platform.models.spec import DiTSpec

QUERY, NEWEST = 18, 3  # the block's first index once the memory is full; the most slots that lie right before it


class Slot(NamedTuple):
    centre: int
    span: int = 1

    @property
    def source(self) -> tuple[str, int]:
        return f"{self.centre}x{self.span}", self.centre


class FadeMemMethod(Method):
    """`slots`: oldest first, as the next block will attend them."""

    def __init__(self, info: RolloutInfo, config: "FadeMem"):
        super().__init__(info)
        self.config, self.slots = config, list[Slot]()

    def plan(self, first: int) -> Plan:
        full, centres = first >= QUERY and len(self.slots) == self.config.slots, [slot.centre for slot in self.slots]
        times = relative(centres, first, self.config.warp_beta) if full else centres
        query = self.window.new(QUERY if full else first)
        past = (Attended(s.centre, t, "summary", entry=s.source[0]) for s, t in zip(self.slots, times, strict=True))
        return Plan(((*past, *self.local_row(first, self.window.new(first), query)),) * self.info.rows, tuple(query))

    def committed(self, first: int, cache: Cache) -> None:
        for frame in self.window.new(first):
            self.slots.append(Slot(frame))
            cache.derive(self.slots[-1].source, cache.frame(frame).clone())
            if len(self.slots) > self.config.slots:
                self.merge(self.closest(first + self.window.block), cache)

    def closest(self, first: int) -> int:
        """The older one of the pair to merge when block `first` is next."""
        warped = [(first - slot.centre) ** self.config.warp_beta for slot in self.slots]
        return min(range(max(1, len(warped) - 2)), key=lambda i: abs(warped[i] - warped[i + 1]))

    def merge(self, i: int, cache: Cache) -> None:
        one, two = self.slots[i : i + 2]
        entry, centre, span = cache.derived(one.source), 0, one.span + two.span
        if one.centre:
            centre = round(one.span / span * one.centre + two.span / span * two.centre)
            weights = [slot.span**self.config.span_gamma for slot in (one, two)]
            total = entry.float() * weights[0] + cache.derived(two.source).float() * weights[1]
            entry = (total / sum(weights)).to(entry.dtype)
        for slot in (one, two):
            cache.forget(slot.source)
        self.slots[i : i + 2] = [Slot(centre, span)]
        cache.derive(self.slots[i].source, entry)


def relative(centres: list[int], first: int, beta: float) -> list[int]:
    """Time indices of slots once the memory is full, for block `first` at index 18."""
    newest, gaps = min(NEWEST, len(centres) - 1), [QUERY]
    others = centres[1 : len(centres) - newest]
    for coming, centre in zip(range(len(others) - 1, -1, -1), others, strict=True):
        age = min(max(first - centre, NEWEST + 1), QUERY - 1) ** beta
        gaps.append(min((abs(gap**beta - age), gap) for gap in range(NEWEST + 1 + coming, gaps[-1]))[1])
    return [QUERY - gap for gap in (*gaps, *range(newest, 0, -1))]


@methods.register("fademem")
@dataclass(frozen=True)
class FadeMem(MethodConfig):
    """Frames of the past in a fixed number of slots, in which neighbours merge as they age (FadeMem, 2026).

    `slots`: slots beside the block; `warp_beta`: 1 merges everywhere alike, less what is old first, 0 all into frame 0;
    `span_gamma`: 1 weights the frames of a slot alike, 0 the two that merge. The window is the block alone."""

    version: ClassVar[int] = 2

    slots: int = 12
    warp_beta: float = 0.3
    span_gamma: float = 0.5
    window: int | None = 3
    sink: int | None = 0

    def __post_init__(self) -> None:
        within(self, slots=(1, QUERY), warp_beta=(0, 50), span_gamma=(0, 50))  # higher powers of long ages overflow

    def build(self, info: RolloutInfo) -> Method:
        return FadeMemMethod(info, self)

    def attended(self, window: Window, network: DiTSpec) -> float:
        return self.slots + window.block

    def at_budget(self, frames: int) -> Self:
        return replace(self, slots=frames - (self.window or 0))

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        if (window.size, window.sink) != (window.block, 0):
            raise ConfigError(f"window = {window.size}: must be the block alone, {window.block}, and sink 0; set slots")
