"""The sliding window with a frame sink: sink frames 0..S-1 and the newest W - S frames, the new block included.

`native` gives keys their absolute frame index, as LongLive and Self-Forcing do. It has no table of positions, so it
does not end at frame 1024 like the published code. `native-relative` attends the same frames at indices 0..W-1, so that
a retrieval method differs from it only in its frames and not in its positions.
"""

from dataclasses import dataclass

from longtake.platform.methods.base import Attended, Method, MethodConfig, Plan, RolloutInfo, methods


class SlidingWindow(Method):
    """Attends the live frames. Time index: the frame's own (absolute) or its position in the window (relative)."""

    def __init__(self, info: RolloutInfo, relative: bool):
        super().__init__(info)
        self.relative = relative

    def plan(self, first: int) -> Plan:
        end = first + self.window.block
        live = self.window.live(end)
        times = range(len(live)) if self.relative else live
        row = tuple(Attended(f, t, self.local_reason(f, first)) for f, t in zip(live, times, strict=True))
        return Plan((row,) * self.info.rows, tuple(times)[-self.window.block :])


@methods.register("native")
@dataclass(frozen=True)
class Native(MethodConfig):
    """The sliding window alone, at absolute positions. `window` and `sink` default to the backbone's."""

    window: int | None = None
    sink: int | None = None

    def build(self, info: RolloutInfo) -> Method:
        return SlidingWindow(info, relative=False)


@methods.register("native-relative")
@dataclass(frozen=True)
class NativeRelative(Native):
    """The sliding window alone: the frames of `native`, at positions relative to the window."""

    def build(self, info: RolloutInfo) -> Method:
        return SlidingWindow(info, relative=True)
