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

from dataclasses import dataclass
from typing import ClassVar

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Cache, Method, MethodConfig, Rerun, RolloutInfo, Seen, methods
from longtake.platform.methods.interface.plan import Group, Row, Tokens, Window
from longtake.platform.methods.parts.grouped import GroupedMethod
from longtake.platform.methods.parts.head_mass import local_heads
from longtake.platform.methods.parts.head_table import StaticHeads, kinds, read_table
from longtake.platform.methods.parts.measured import MEASURED, file_fingerprint
from longtake.platform.methods.parts.ranges import at_least, within
from longtake.platform.methods.parts.token_runs import changed_runs
from longtake.platform.models.spec import DiTSpec
from longtake.platform.settings.paths import FilePath


class ForcingKVMethod(GroupedMethod):
    """Per row: `static`, each layer's static heads, once known; `measured`, until then; `chunks`, the kept runs."""

    watched = frozenset({"commit"})

    def __init__(self, info: RolloutInfo, config: ForcingKV, static: StaticHeads | None):
        super().__init__(info)
        self.config = config
        self.first_grouped = (config.ar_start + 1) * self.window.block
        self.measured_at = config.measure_block * self.window.block
        self.static: list[StaticHeads] = [] if static is None else [static] * info.rows
        self.measured: list[list[frozenset[int]]] = [[] for _ in range(info.rows)]
        self.chunks: list[Tokens | None] = [None] * info.rows

    def groups(self, row: int, first: int) -> tuple[Group, ...]:
        end = first + self.window.block
        return self.around(row, first, self.local_row(first, self.window.live(end) if self.static else range(end)))

    def around(self, row: int, first: int, whole: Row) -> tuple[Group, ...]:
        if not self.static or first < self.first_grouped:
            return super().around(row, first, whole)
        runs = {False: None, True: self.chunks[row]}
        heads_of = kinds(self.static[row], self.spec)
        return tuple(Group((layer,), heads, whole, runs[dynamic]) for layer, dynamic, heads in heads_of)

    def pinned(self, first: int) -> range:
        return range(0 if self.static else first)

    def watch(self, seen: Seen) -> None:
        if not self.static and seen.first == self.measured_at:
            near, tokens = self.window.size - self.window.sink, self.spec.frame_tokens
            early, share = self.window.block * tokens, self.config.local_share
            self.measured[seen.row].append(local_heads(seen, near * tokens, early, share))
        elif self.static and seen.first >= self.first_grouped:
            dynamic = ((layer, heads) for layer, its, heads in kinds(self.static[seen.row], self.spec) if its)
            leaving = self.window.leaving(seen.first + self.window.block)
            if leaving and (seen.layer, seen.heads) == next(dynamic, None):
                runs, count = self.config.runs, self.config.runs * self.config.dynamic_frames
                self.chunks[seen.row] = changed_runs(seen, [*leaving], self.spec.frame_tokens, runs, count)

    def committed(self, first: int, cache: Cache) -> None:
        if not self.static and first == self.measured_at:
            self.static = [*self.measured]

    def switch(self, first: int, cut: bool) -> Rerun | None:
        left = self.window.evicted(first + self.window.block if self.static else 0)
        again = range(left.stop, first)
        return self.recached(first, again) if again else None


@methods.register("forcing-kv")
@dataclass(frozen=True)
class ForcingKV(MethodConfig):
    """Static heads attend the newest frames, dynamic heads also what changed before them (Forcing-KV, 2026).

    `table`: a JSON table of heads, or `measured`; `ar_start`: the last block in which all heads attend the same; `runs`
    per frame; `dynamic_frames`: how many frames' worth of runs to keep; `measure_block` and `local_share`: when and by
    which share of attention `measured` calls a head static."""

    varies: ClassVar[bool] = True
    budgeted: ClassVar[bool] = False

    table: FilePath = MEASURED
    ar_start: int = 1
    runs: int = 6
    dynamic_frames: int = 1
    measure_block: int = 3
    local_share: float = 0.8
    window: int | None = 5
    sink: int | None = 1

    def __post_init__(self) -> None:
        at_least(self, ar_start=0, runs=1, dynamic_frames=1, measure_block=2)
        within(self, local_share=(0, 1))

    def attended(self, window: Window, network: DiTSpec) -> float:
        return window.size + self.dynamic_frames * (network.layers - 1) / network.layers

    def fingerprint(self) -> dict[str, str]:
        return file_fingerprint("table", self.table, "a JSON file of heads")

    def build(self, info: RolloutInfo) -> Method:
        assert info.network is not None
        if self.runs > info.network.frame_tokens:
            raise ConfigError(f"runs = {self.runs}: must be at most {info.network.frame_tokens}, the tokens of a frame")
        return ForcingKVMethod(info, self, None if self.table == MEASURED else read_table(self.table, info.network))
