"""Forcing-KV: static heads attend the newest frames, dynamic heads also what changed before them (2026; training-free).

Absolute positions. Up to block `ar_start` all heads attend a window of a sink, past frames and the block; layer 0 does
to the end. Then *static* heads of other layers attend `spatial_frames` of these past frames, *dynamic* heads
`temporal_frames`, and `dynamic_frames` frames' worth of runs of tokens. Each commit pass chooses these anew for all
layers from the three oldest frames that dynamic heads attend after the sink, each cut into `runs`: those least like the
next frame, by the mean cosine of a run's keys with its keys (rotated, of the dynamic heads of the first layer that has
any). The released code lets row 0 choose for a batch; here each row does. Where the prompt changes, the runs are
dropped, and the newest past frames are computed again, with all heads alike, beside the sink.

`table` names a table of heads in the authors' format. `measured`, for every backbone, is ours: up to block
`measure_block` all heads attend all frames; its commit pass calls a head static, as published tables do, if the window
without its sink (published: 4 frames) has `local_share` of its attention on all frames but the first block's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from longtake.platform.methods.base import Cache, Latent, Method, MethodConfig, Rerun, RolloutInfo, Seen, methods
from longtake.platform.methods.interface.plan import Group, Tokens, Window
from longtake.platform.methods.parts.grouped import GroupedMethod
from longtake.platform.methods.parts.heads.mass import local_heads
from longtake.platform.methods.parts.heads.table import StaticHeads, first_dynamic, kinds, read_table
from longtake.platform.methods.parts.measured import MEASURED, file_fingerprint
from longtake.platform.methods.parts.ranges import at_least, holds, within
from longtake.platform.methods.parts.tokens.token_runs import changed_runs, check_runs
from longtake.platform.models.spec import DiTSpec
from longtake.platform.settings.paths import FilePath


class ForcingKVMethod(GroupedMethod):
    """Per row: `static`, each layer's static heads, all of them once they are `known`; `chunks`, the kept runs."""

    watched = frozenset({"commit"})

    def __init__(self, info: RolloutInfo, config: ForcingKV, static: StaticHeads | None = None):
        super().__init__(info)
        check_runs(config.runs, self.spec)
        static = static or (None if config.table == MEASURED else read_table(config.table, self.spec))
        self.config, sink, block = config, self.window.sink, self.window.block
        self.windows = [Window(sink + n + block, sink, block) for n in (config.spatial_frames, config.temporal_frames)]
        self.first_grouped, self.measured_at = (config.ar_start + 1) * block, config.measure_block * block
        self.known, self.static = static is not None, [[*(static or ())] for _ in range(info.rows)]
        self.chunks: list[Tokens | None] = [None] * info.rows

    def groups(self, row: int, first: int) -> tuple[Group, ...]:
        end = first + self.window.block
        whole = self.local_row(first, self.window.live(end) if self.known else range(end))
        if not self.known or first < self.first_grouped:
            return self.around(row, first, whole)
        static, dynamic = (self.local_row(first, window.live(end)) for window in self.windows)
        sees = {False: (static, None), True: (dynamic, self.chunks[row])}
        heads_of = kinds(self.static[row], self.spec)
        return tuple(Group((i,), heads, *(sees[kind] if i else (whole,))) for i, kind, heads in heads_of)

    def pinned(self, first: int) -> range:
        return range(0 if self.known else first)

    def watch(self, seen: Seen) -> None:
        tokens = self.spec.frame_tokens
        if not self.known and seen.first == self.measured_at:
            self.static[seen.row].append(local_heads(seen, self.window, tokens, self.config.local_share))
        elif self.known and seen.first >= self.first_grouped and self.config.dynamic_frames:
            oldest = max(self.window.sink, seen.first - self.config.temporal_frames)
            if oldest < seen.first and (seen.layer, seen.heads) == first_dynamic(self.static[seen.row], self.spec):
                self.chunks[seen.row] = changed_runs(seen, oldest, tokens, self.config.runs, self.config.dynamic_frames)

    def committed(self, first: int, cache: Cache) -> None:
        self.known = self.known or first == self.measured_at

    def switch(self, first: int, cut: bool) -> Rerun | None:
        self.chunks, self.first_grouped = [None] * self.info.rows, min(first, self.first_grouped)
        sink, past = self.window.sink, self.window.size - self.window.sink - self.window.block
        again = range(max(sink, first - max(sink, past, self.config.dynamic_frames)), first)
        return self.recached(first, again) if again else None


@methods.register("forcing-kv")
@dataclass(frozen=True)
class ForcingKV(MethodConfig):
    """Static heads attend the newest frames, dynamic heads also what changed before them (Forcing-KV, 2026).

    `table`: a JSON table, or `measured` in block `measure_block` by `local_share`; `ar_start`: the last block in
    which all heads attend alike; `spatial_frames`, `temporal_frames`: past frames of static and of dynamic heads;
    `dynamic_frames`: frames' worth of runs that are kept, of `runs` a frame; `window`: sink, past frames and block."""

    version: ClassVar[int] = 2
    varies: ClassVar[bool] = True
    budgeted: ClassVar[bool] = False

    table: FilePath = MEASURED
    ar_start: int = 1
    runs: int = 6
    spatial_frames: int = 1
    temporal_frames: int = 1
    dynamic_frames: int = 1
    measure_block: int = 3
    local_share: float = 0.8
    window: int | None = 5
    sink: int | None = 1

    def __post_init__(self) -> None:
        at_least(self, ar_start=0, runs=1, spatial_frames=0, measure_block=2)
        within(self, temporal_frames=(1, 3), dynamic_frames=(0, 3), local_share=(0, 1))

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        holds(window, max(self.spatial_frames, self.temporal_frames), "the larger of spatial_ and temporal_frames")

    def attended(self, window: Window, network: DiTSpec) -> float:
        beside = max(self.spatial_frames, self.temporal_frames + self.dynamic_frames) + window.sink + window.block
        return beside + (window.size - beside) / network.layers

    def fingerprint(self) -> dict[str, str]:
        return file_fingerprint("table", self.table, "a JSON file of heads")

    def build(self, info: RolloutInfo) -> Method:
        return ForcingKVMethod(info, self)
