"""Methods with what a case records of their making: random rows that were drawn, and a table of heads with its window;
and methods that keep the scores by which they choose, to be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from longtake.jobs.golden.rows import by_row
from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Method, MethodConfig, RolloutInfo
from longtake.platform.methods.dummy_forcing import DummyForcing, DummyForcingMethod
from longtake.platform.methods.forcing_kv import ForcingKV, ForcingKVMethod
from longtake.platform.methods.tethercache import TetherCache, TetherCacheMethod

if TYPE_CHECKING:
    from torch import Tensor


class GivenRowsMethod(DummyForcingMethod):
    given: tuple[list[list[int]], ...]

    def query_rows(self, row: int, layer: int, queries: int) -> list[int]:
        return self.given[row][layer]


@dataclass(frozen=True)
class GivenRows(DummyForcing):
    """`rows`: per batch row, the query rows that were drawn in each layer."""

    rows: tuple[list[list[int]], ...] = ()

    def build(self, info: RolloutInfo) -> Method:
        method = GivenRowsMethod(info, self)
        method.given = self.rows
        return method


@dataclass(frozen=True)
class GivenHeads(ForcingKV):
    """`heads`: the static heads of each layer."""

    heads: tuple[list[int], ...] = ()

    def build(self, info: RolloutInfo) -> Method:
        return ForcingKVMethod(info, self, tuple(map(frozenset, self.heads)))


class ScoredTetherCacheMethod(TetherCacheMethod):
    """`scored`: candidates and their scores, of each choice: block by block, layer by layer, row by row."""

    def __init__(self, info: RolloutInfo, config: TetherCache):
        super().__init__(info, config)
        self.scored: list[tuple[list[int], list[float]]] = []

    def scores(self, frames: list[int], query: Tensor, keys: list[Tensor]) -> Tensor:
        found = super().scores(frames, query, keys)
        self.scored.append((frames, found.tolist()))
        return found


@dataclass(frozen=True)
class ScoredTetherCache(TetherCache):
    def build(self, info: RolloutInfo) -> Method:
        return ScoredTetherCacheMethod(info, self)


def given(config: MethodConfig, facts: Mapping[str, Any]) -> MethodConfig:
    """The config with what its case records."""
    if isinstance(config, DummyForcing):
        return GivenRows(**asdict(config), rows=tuple(by_row(facts["sampled_query_rows"], 2, facts["batch"])))
    if isinstance(config, ForcingKV):
        return given_heads(config, facts)
    if isinstance(config, TetherCache):
        return ScoredTetherCache(**asdict(config))
    return config


def given_heads(config: ForcingKV, facts: Mapping[str, Any]) -> GivenHeads:
    """With the recorded table, in the window of the recorded numbers of frames. Raises ConfigError if the share of the
    runs of three frames is not `dynamic_frames` frames' worth, which the authors' code refuses too, and if all frames
    would be computed again where the prompt changes."""
    recorded: Mapping[str, Any] = facts["config"]
    if recorded.get("local_attn_size") == -1 and len(facts.get("prompts", [])) > 1:
        raise ConfigError("config.local_attn_size = -1: must be a number of frames where the prompt changes")
    ratio, kept = recorded.get("retention_ratio"), config.dynamic_frames
    if ratio is not None and round(3 * config.runs * ratio) != config.runs * kept:
        raise ConfigError(f"config.retention_ratio = {ratio}: must be {kept / 3:.2f} with dynamic_frames {kept}")
    past, block = max(config.spatial_frames, config.temporal_frames), recorded["num_frame_per_block"]
    sized = replace(config, window=(1 if config.sink is None else config.sink) + past + block)
    return GivenHeads(**asdict(sized), heads=tuple(recorded["static_heads"]))
