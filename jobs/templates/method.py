"""my-method: the sliding window, and one frame of the past.

A method says what a block attends: a row of frames per take, each with its time index and the reason it is there.
The reason is one of five words, here "sink", "retrieved", "window" or "block" ("summary" is for averages): traces count
frames by them.

The retrieved frame has time index 0, like the first sink frame. This is LongLive-RAG's layout: frames of the past share
index 0, before the window's newest frames, so that no index exceeds the window (platform/methods/parts/memory.py).
"""

from dataclasses import dataclass
from typing import ClassVar

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Attended, Method, MethodConfig, Plan, RolloutInfo, methods


@methods.register("my-method")
@dataclass(frozen=True)
class MyMethod(MethodConfig):
    """Parameters, each with a default. A sweep sets them: `- {my-method: {age: 48}, as: my-method-48}`.

    `age`: how many latent frames before the block the frame of the past lies; there are 4 in a second.
    """

    keeps_evicted: ClassVar[bool] = True  # the method attends frames that have left the window: the engine keeps them

    age: int = 24
    window: int | None = None  # None: the backbone's
    sink: int | None = None

    def __post_init__(self) -> None:
        if self.age < 1:
            raise ConfigError(f"age = {self.age}: must be 1 or more")

    def build(self, info: RolloutInfo) -> Method:
        return MyMethodRun(info, self)


class MyMethodRun(Method):
    """One rollout. `observe(first, latents)` may look at each finished block; this method has no need to."""

    def __init__(self, info: RolloutInfo, config: MyMethod):
        super().__init__(info)
        self.age = config.age

    def plan(self, first: int) -> Plan:
        end = first + self.window.block
        slots = {frame: slot for slot, frame in enumerate(self.window.live(end))}  # a frame's place is its time index
        query = tuple(slots.values())[-self.window.block :]
        past = []
        if first - self.age in self.window.evicted(first):
            past = [Attended(first - self.age, 0, "retrieved")]
            del slots[sorted(slots)[self.window.sink]]  # the oldest frame makes room: the budget stays the window's
        local = [Attended(frame, slot, self.local_reason(frame, first)) for frame, slot in slots.items()]
        row = (*local[: self.window.sink], *past, *local[self.window.sink :])
        return Plan((row,) * self.info.rows, query)  # all takes of the batch alike; what differs comes from info.seeds
