"""Forcing-KV: static heads attend the newest frames, dynamic heads also what changed before them (2026; training-free).

Absolute positions in a window of a sink, one past frame and the block, which all heads attend until block `ar_start`.
Then layer 0 and the *static* heads of the others stay so. *Dynamic* heads also attend `dynamic_frames` frames' worth of
runs of tokens. Each commit pass chooses them from the frames that leave the window: a frame is cut into `runs` runs,
and a run's similarity is the mean cosine of its tokens' keys (rotated, of the dynamic heads of the first layer that has
any) with those in the next frame. The least similar runs are kept for all layers, at their own positions, in place of
the old ones. The released code lets row 0 choose for a batch; here each row does. Where the prompt changes, the past
frames of the window are computed again, attending what a block would.

`table` names a table of heads in the authors' format. `measured` is a variant of ours that runs on every backbone, by
the rule that published tables state: up to block `measure_block` all heads attend all frames, and its commit pass calls
a head static if the window without its sink (published: 4 frames) has `local_share` of the head's attention on all
frames but the first block's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Method, MethodConfig, RolloutInfo, methods
from longtake.platform.methods.interface.groups import every_head, summed_up
from longtake.platform.methods.interface.hooks import Cache, Rerun, Seen
from longtake.platform.methods.interface.plan import RETRIEVED, Attended, Group, Plan, Row, Tokens, Window
from longtake.platform.methods.parts.head_mass import head_mass
from longtake.platform.methods.parts.head_table import (
    MEASURED,
    StaticHeads,
    kinds,
    read_table,
    static_heads,
    table_sha256,
)
from longtake.platform.methods.parts.token_runs import changed_runs
from longtake.platform.settings.paths import FilePath

if TYPE_CHECKING:
    from longtake.platform.models.spec import DiTSpec


class ForcingKVMethod(Method):
    """`static`: per row, the static heads of each layer, once known. `chunks`: per row, the runs that are kept."""

    grouped = True

    def __init__(self, info: RolloutInfo, config: ForcingKV, static: StaticHeads | None):
        super().__init__(info)
        assert info.network is not None
        self.config, self.spec = config, info.network
        self.first_grouped = (config.ar_start + 1) * self.window.block
        self.measured_at = config.measure_block * self.window.block
        self.static = [] if static is None else [static] * info.rows
        self.share = np.zeros((info.rows, self.spec.layers, self.spec.heads))
        self.chunks: list[Tokens | None] = [None] * info.rows

    def plan(self, first: int) -> Plan:
        self.watched = frozenset({"commit"})
        return self.over(first, self.row(first), range(first, first + self.window.block))

    def row(self, first: int) -> Row:
        """What static heads attend."""
        end = first + self.window.block
        live = self.window.live(end)
        reason = {frame: self.local_reason(frame, first) for frame in live}
        frames = live if self.static else range(end)
        return tuple(Attended(frame, frame, reason.get(frame, RETRIEVED)) for frame in frames)

    def over(self, first: int, row: Row, new: range) -> Plan:
        return summed_up([self.groups(b, first, row) for b in range(self.info.rows)], tuple(new), self.spec)

    def groups(self, b: int, first: int, row: Row) -> tuple[Group, ...]:
        if not self.static or first < self.first_grouped:
            return every_head(row, self.spec)
        return tuple(
            Group((layer,), heads, row, self.chunks[b] if dynamic else None)
            for layer, dynamic, heads in kinds(self.static[b], self.spec)
        )

    def pinned(self, first: int) -> Collection[int]:
        return () if self.static else range(first)

    def watch(self, seen: Seen) -> None:
        if not self.static and seen.first == self.measured_at:
            tokens = self.spec.frame_tokens
            near = max(0, seen.keys.shape[1] - (self.window.size - self.window.sink) * tokens)
            parts = slice(near, None), slice(self.window.block * tokens, None)
            local, beyond_first = head_mass(seen.rotated_query, seen.rotated_keys, parts).T
            self.share[seen.row, seen.layer] = local / beyond_first
        elif self.static and seen.first >= self.first_grouped:
            groups = kinds(self.static[seen.row], self.spec)
            end, runs = seen.first + self.window.block, self.config.runs
            left = self.window.evicted(end + self.window.block)[len(self.window.evicted(end)) :]
            first_dynamic = next(((layer, heads) for layer, dynamic, heads in groups if dynamic), None)
            if left and (seen.layer, seen.heads) == first_dynamic:
                count = runs * self.config.dynamic_frames
                self.chunks[seen.row] = changed_runs(seen, [*left], self.spec.frame_tokens, runs, count)

    def committed(self, first: int, cache: Cache) -> None:
        if not self.static and first == self.measured_at:
            self.static = [static_heads(share >= self.config.local_share) for share in self.share]

    def switch(self, first: int, cut: bool) -> Rerun | None:
        self.watched = frozenset()
        past = [at.frame for at in self.row(first) if at.reason != "block"]
        again = [frame for frame in past if frame >= self.window.sink]
        row = tuple(Attended(f, f, "sink" if f < self.window.sink else "block") for f in past)
        new = range(again[0], first) if again else range(0)
        return Rerun(new, self.over(first, row, new)) if again else None


@methods.register("forcing-kv")
@dataclass(frozen=True)
class ForcingKV(MethodConfig):
    """Static heads attend the newest frames, dynamic heads also what changed before them (Forcing-KV, 2026).

    `table`: a JSON table of heads, or `measured`; `ar_start`: the last block in which all heads attend the same; `runs`
    per frame; `dynamic_frames`: how many frames' worth of runs to keep; `measure_block` and `local_share`: when and by
    which share of attention `measured` calls a head static."""

    varies: ClassVar[bool] = True

    table: FilePath = MEASURED
    ar_start: int = 1
    runs: int = 6
    dynamic_frames: int = 1
    measure_block: int = 3
    local_share: float = 0.8
    window: int | None = 5
    sink: int | None = 1

    def __post_init__(self) -> None:
        for name, least in (("ar_start", 0), ("runs", 1), ("dynamic_frames", 1), ("measure_block", 2)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} = {getattr(self, name)}: must be {least} or more")
        if not 0 <= self.local_share <= 1:
            raise ConfigError(f"local_share = {self.local_share}: must be from 0 to 1")

    def attended(self, window: Window, network: DiTSpec) -> float:
        return window.size + self.dynamic_frames * (network.layers - 1) / network.layers

    def fingerprint(self) -> dict[str, str]:
        return {} if self.table == MEASURED else {"method.table": table_sha256(self.table)}

    def at_budget(self, frames: int) -> Self:
        raise ConfigError("forcing-kv has no settings for a budget")

    def build(self, info: RolloutInfo) -> Method:
        assert info.network is not None
        if self.runs > info.network.frame_tokens:
            raise ConfigError(f"runs = {self.runs}: must be at most {info.network.frame_tokens}, the tokens of a frame")
        return ForcingKVMethod(info, self, None if self.table == MEASURED else read_table(self.table, info.network))
