"""The sliding window with a frame sink: sink frames 0..S-1 and the newest W - S frames, the new block included.

`native` gives keys their absolute frame index, as LongLive and Self-Forcing do. It has no table of positions, so it
does not end at frame 1024 like the published code. `native-relative` attends the same frames at indices 0..W-1, so that
a retrieval method differs from it only in its frames and not in its positions.

Where the prompt changes, LongLive computes the window again under the new text (`recache`): the clean frames of the
window in one pass at timestep 0, all of which see each other. The released setting, and the default, keeps the sink as
it was made under the old text. With `new-sink` the last W frames are computed again, and the first S of them are the
sink from then on. A change within the first W frames computes all frames again. `none` changes the text alone.
"""

from collections.abc import Collection
from dataclasses import dataclass

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Method, MethodConfig, Plan, Reason, Rerun, RolloutInfo, methods

KEEP_SINK, NEW_SINK, NONE = "keep-sink", "new-sink", "none"


class SlidingWindow(Method):
    """Attends the live frames. Time index: the frame's own (absolute) or its position in the window (relative).

    `sink_from`: the first frame of the sink."""

    def __init__(self, info: RolloutInfo, relative: bool, recache: str | None):
        super().__init__(info)
        self.relative, self.recache, self.sink_from = relative, recache or KEEP_SINK, 0

    def plan(self, first: int) -> Plan:
        return self.ending(first, self.window.live(first + self.window.block), self.window.block)

    def ending(self, first: int, live: list[int], new: int) -> Plan:
        """Attends `live`, whose last `new` frames are the queries; the sink is where it has moved to."""
        sink = min(self.window.sink, len(live))
        frames = [*range(self.sink_from, self.sink_from + sink), *live[sink:]]
        times = list(range(len(frames))) if self.relative else frames
        return Plan((self.local_row(first, frames, times),) * self.info.rows, tuple(times[-new:]))

    def local_reason(self, frame: int, first: int) -> Reason:
        moved = self.sink_from <= frame < self.sink_from + self.window.sink and frame < first
        return "sink" if moved else super().local_reason(frame, first)

    def pinned(self, first: int) -> Collection[int]:
        return range(self.sink_from, self.sink_from + self.window.sink) if self.sink_from else ()

    def switch(self, first: int, cut: bool) -> Rerun | None:
        if self.recache == NONE:
            return None
        again, kept = self.window.recached(first), range(0)
        if self.recache == NEW_SINK:
            self.sink_from = max(0, first - self.window.size)
            again = range(self.sink_from, first)
        elif again.start:
            kept = range(self.window.sink)
        return Rerun(again, self.ending(first, [*kept, *again], len(again)))


@methods.register("native")
@dataclass(frozen=True)
class Native(MethodConfig):
    """The sliding window alone, at absolute positions. `window` and `sink` default to the backbone's.

    `recache`: what is computed again where the prompt changes: keep-sink (the default), new-sink or none."""

    window: int | None = None
    sink: int | None = None
    recache: str | None = None

    def __post_init__(self) -> None:
        if self.recache not in (None, KEEP_SINK, NEW_SINK, NONE):
            raise ConfigError(f"recache = {self.recache!r}: must be {KEEP_SINK}, {NEW_SINK} or {NONE}, or not set")

    def build(self, info: RolloutInfo) -> Method:
        return SlidingWindow(info, False, self.recache)


@methods.register("native-relative")
@dataclass(frozen=True)
class NativeRelative(Native):
    """The sliding window alone: the frames of `native`, at positions relative to the window."""

    def build(self, info: RolloutInfo) -> Method:
        return SlidingWindow(info, True, self.recache)
