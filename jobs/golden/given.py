"""Methods with what a case records of their making: random rows that were drawn, and a table of heads with its window;
and methods that keep the scores by which they choose, to be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.jobs.golden.rows import by_row
from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Method, MethodConfig, RolloutInfo, Seen
from longtake.platform.methods.dummy_forcing import DummyForcing, DummyForcingMethod
from longtake.platform.methods.forcing_kv import ForcingKV, ForcingKVMethod
from longtake.platform.methods.parts.heads.table import StaticHeads
from longtake.platform.methods.parts.tokens.token_runs import similarity
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
        return ScoredForcingKVMethod(info, self, tuple(map(frozenset, self.heads)))


class ScoredForcingKVMethod(ForcingKVMethod):
    """`scored`: the similarity of every run, of each choice: block by block, row by row."""

    def __init__(self, info: RolloutInfo, config: ForcingKV, static: StaticHeads | None):
        super().__init__(info, config, static)
        self.scored: list[list[float]] = []

    def compared(self, first: int) -> range:
        """The frames of whose runs the commit pass of a block keeps some."""
        oldest = max(self.window.sink, first - self.config.temporal_frames)
        return range(oldest, oldest + self.window.block)

    def watch(self, seen: Seen) -> None:
        import torch

        before = self.chunks[seen.row]
        super().watch(seen)
        if self.chunks[seen.row] is not before:
            size, runs, frames = self.spec.frame_tokens, self.config.runs, self.compared(seen.first)
            starts = [seen.start(frame, size) for frame in (*frames, frames.stop)]
            keys = torch.stack([seen.rotated_keys[:, start : start + size] for start in starts])
            self.scored.append(similarity(keys, [at * size // runs for at in range(runs + 1)]).flatten().tolist())


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


def given(path: Path, config: MethodConfig, facts: Mapping[str, Any]) -> MethodConfig:
    """The config with what its case records. Raises ConfigError if it does not."""
    if isinstance(config, DummyForcing):
        rows = by_row(required(path, facts, "sampled_query_rows"), 2, facts["batch"])
        return GivenRows(**asdict(config), rows=tuple(rows))
    if isinstance(config, ForcingKV):
        return given_heads(config, facts, required(path, facts["config"], "static_heads"))
    if isinstance(config, TetherCache):
        return ScoredTetherCache(**asdict(config))
    return config


def given_heads(config: ForcingKV, facts: Mapping[str, Any], heads: list[list[int]]) -> GivenHeads:
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
    return GivenHeads(**asdict(sized), heads=tuple(heads))


def required(path: Path, facts: Mapping[str, Any], key: str) -> Any:
    if key not in facts:
        raise ConfigError(f"{path}: {key} is missing; the method cannot run as recorded without it")
    return facts[key]
