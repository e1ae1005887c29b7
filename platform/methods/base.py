"""The interface of a context method: its inputs, and the plan that it returns.

For each block and batch row, a method lists the entries to attend, in order, each with the time index of its keys and
the reason for the choice. This plan is also the trace. The network attends over a plan and knows no method. One
instance serves one rollout.

Most methods need `plan` alone, and `observe` for the clean latents. What the others may ask for, each at its own cost:

- entries computed from others, such as an average of evicted frames: `committed` gets the cache and may add to it;
- frames that never leave the cache: `pinned`;
- other entries per layer or head, and single tokens of a frame: plans with `groups`, from a method with `grouped`;
- queries and keys inside a pass: `watched` and `watch`, for a method with `grouped`;
- a change of the prompt: `switch`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, ClassVar, Self

from longtake.platform.errors import ConfigError
from longtake.platform.machine.dtypes import BYTES
from longtake.platform.methods.interface.groups import summed_up
from longtake.platform.methods.interface.hooks import Cache, Pass, Replacement, Rerun, Seen
from longtake.platform.methods.interface.plan import (
    LONGEST_WINDOW,
    REASONS,
    RETRIEVED,
    Attended,
    Group,
    Plan,
    Reason,
    Row,
    Source,
    Tokens,
    Window,
)
from longtake.platform.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy as np
    from torch import Tensor

    from longtake.platform.models.spec import DiTSpec

__all__ = [
    "LONGEST_WINDOW",
    "REASONS",
    "RETRIEVED",
    "Attended",
    "Cache",
    "FrameSize",
    "Group",
    "Latent",
    "Method",
    "MethodConfig",
    "Pass",
    "Plan",
    "Reason",
    "Replacement",
    "Rerun",
    "RolloutInfo",
    "Row",
    "Seen",
    "Source",
    "Tokens",
    "Window",
    "methods",
    "summed_up",
]

BANK_DTYPES = ("float32", "bf16", "fp8")
"""Values of a method's `bank_dtype`."""
Latent = tuple[int, int, int]
"""Channels, height and width of a latent frame."""


@dataclass(frozen=True)
class FrameSize:
    """Size of a frame's keys and values: count and bytes of the numbers, and count of the scales in 8 bits."""

    values: int = 0
    value_bytes: int = 4
    scales: int = 0


@dataclass(frozen=True)
class RolloutInfo:
    """What a method may know about its rollout. `columns` [rows, frames]: the camera of the pocket world;
    `world_columns`: the columns after which each row's street begins again; `network`: the sizes of the network, for
    methods with groups or derived entries; `places` [rows, frames, view_columns]: equal numbers where the same is
    seen, for the oracle."""

    window: Window
    rows: int
    seeds: tuple[int, ...]
    columns: np.ndarray | None = None
    view_columns: int = 0
    world_columns: tuple[int, ...] = ()
    frame: FrameSize = FrameSize()
    network: DiTSpec | None = None
    places: np.ndarray | None = None


class Method(ABC):
    """Chooses the context of each block. `grouped`: its plans have groups; `watched`: the passes that `watch` sees,
    which may change from block to block."""

    grouped: ClassVar[bool] = False
    watched: frozenset[Pass] = frozenset()

    def __init__(self, info: RolloutInfo):
        self.info = info
        self.window = info.window

    @abstractmethod
    def plan(self, first: int) -> Plan:
        """The context of the block whose first frame is `first`. A second call must return the same plan."""

    def observe(self, first: int, latents: Tensor) -> None:
        """Called with the clean latents [B, n, C, H, W] of each finished block. Mutates the method."""

    def committed(self, first: int, cache: Cache) -> None:
        """Called after the commit pass of each block, before anything leaves the cache. May derive entries from those
        in the cache, row by row: a batch must give the bits of single takes. Mutates the method."""

    def pinned(self, first: int) -> Collection[int]:
        """Frames that stay in the cache during block `first` beside the window's."""
        return ()

    def watch(self, seen: Seen) -> Replacement | None:
        """Called in every layer, row and group of heads in the `watched` passes. What it returns is attended instead,
        in this and the later passes of the block. Mutates the method."""
        raise NotImplementedError(f"{type(self).__name__} watches {set(self.watched)} but has no watch")

    def switch(self, first: int, cut: bool) -> Rerun | None:
        """Called before `plan` when the prompt changes at block `first`; `cut`: to another scene. The frames of the
        answer are computed again under the new prompt; None: nothing is. Mutates the method."""
        return None

    def forget(self, first: int) -> list[list[int]]:
        """Per row, frames that the bank deletes during block `first`. Mutates the method."""
        return [[] for _ in range(self.info.rows)]

    def local_reason(self, frame: int, first: int) -> Reason:
        """Why block `first` attends a frame that no rule of the method's own has chosen."""
        if frame >= first:
            return "block"
        if frame < self.window.sink:
            return "sink"
        return "retrieved" if frame in self.window.evicted(first + self.window.block) else "window"

    def local_row(self, first: int, frames: Sequence[int], times: Sequence[int] | None = None) -> Row:
        """These frames at these time indices, by default their own."""
        at = zip(frames, frames if times is None else times, strict=True)
        return tuple(Attended(frame, time, self.local_reason(frame, first)) for frame, time in at)


class MethodConfig(ABC):
    """Parameters of a method. Subclasses are frozen dataclasses, registered under the method's name.

    `version`: raised when the same parameters give other pixels, so that takes get new ids; no parameter has this name.
    `keeps_evicted`: the method can attend frames that have left the window, so the rollout keeps them in a bank;
    `needs_camera`: the method runs only in a world with a known camera; `in_order`: no older frame ever gets a later
    time index than a newer one; `varies`: how much is attended depends on the video, and `attended` is the most;
    `budgeted`: there are parameters with which a block attends a given number of frames.
    """

    version: ClassVar[int] = 1
    keeps_evicted: ClassVar[bool] = False
    needs_camera: ClassVar[bool] = False
    in_order: ClassVar[bool] = True
    varies: ClassVar[bool] = False
    budgeted: ClassVar[bool] = True

    window: int | None
    sink: int | None
    bank_dtype: str | None = None

    def entry_bytes(self, frame: FrameSize) -> int:
        """Bytes of a frame in the bank."""
        if self.bank_dtype is None:
            return frame.values * frame.value_bytes
        scales = 4 * frame.scales if self.bank_dtype == "fp8" else 0
        return frame.values * BYTES[self.bank_dtype] + scales

    def budget(self, frame: FrameSize) -> int | None:
        """The most frames that the bank may hold; None: unlimited. Raises ConfigError if the limit is too small."""
        return None

    def banked_frames(self, latent_frames: int, window: Window, frame: FrameSize) -> int:
        """The most frames that the bank holds in a take of this length."""
        if not self.keeps_evicted:
            return 0
        evicted, budget = max(0, latent_frames - window.size), self.budget(frame)
        return evicted if budget is None else min(evicted, budget)

    def attended(self, window: Window, network: DiTSpec) -> float | None:
        """Frames' worth of tokens that a block attends once the context is full, its own frames included: the mean over
        layers, heads and blocks. None: every frame so far."""
        return window.size

    def at_budget(self, frames: int) -> Self:
        """The same method with a block that attends `frames` in all. Raises ConfigError if it is not `budgeted`."""
        if not self.budgeted:
            raise ConfigError("no parameter sets how much it attends")
        return replace(self, window=frames)  # type: ignore[type-var]

    def mean_attended(self, latent_frames: int, window: Window, network: DiTSpec) -> float:
        """Frames' worth of tokens that a block attends, mean over a video of this length. Methods with a full context
        count as full from the first block on."""
        attended = self.attended(window, network)
        return (latent_frames + window.block) / 2 if attended is None else attended

    def context_slots(self, latent_frames: int, window: Window, network: DiTSpec) -> int:
        """The most frames' worth of tokens that one block of a video of this length attends."""
        attended = self.attended(window, network)
        return latent_frames if attended is None else min(latent_frames, ceil(attended))

    def growing_bytes(self, latent_frames: int, window: Window, network: DiTSpec, frame: FrameSize) -> int:
        """Bytes on the device that grow with the video, beside the bank: for a method that attends every frame, the
        keys and values of all of them, as computed and as attended."""
        grows = self.attended(window, network) is None
        return 2 * latent_frames * frame.values * frame.value_bytes if grows else 0

    @abstractmethod
    def build(self, info: RolloutInfo) -> Method:
        """A new method for one rollout."""

    def fingerprint(self) -> dict[str, str]:
        """sha256 of every file of weights that a parameter names, by `method.<parameter>`."""
        return {}

    def window_in(self, default: Window) -> Window:
        """The backbone's window, with the overrides of these parameters."""
        size = default.size if self.window is None else self.window
        return Window(size, default.sink if self.sink is None else self.sink, default.block)

    def check(self, window: Window, latent: Latent) -> None:
        """Raise ConfigError if the parameters do not fit the window or the backbone's latents."""
        if window.sink < 0 or window.size < window.sink + window.block:
            least = f"at least sink {window.sink} + block {window.block}"
            raise ConfigError(f"window = {window.size}, sink = {window.sink}: the window must hold {least} frames")


methods: Registry[type[MethodConfig]] = Registry("method", "longtake.platform.methods")
