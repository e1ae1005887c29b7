"""Methods with what a case records of their making: random rows that were drawn, and a table of heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from longtake.platform.methods.base import Method, MethodConfig, RolloutInfo
from longtake.platform.methods.dummy_forcing import DummyForcing, DummyForcingMethod
from longtake.platform.methods.forcing_kv import ForcingKV, ForcingKVMethod


class GivenRowsMethod(DummyForcingMethod):
    given: tuple[list[int], ...]

    def query_rows(self, row: int, layer: int, queries: int) -> list[int]:
        return self.given[layer]


@dataclass(frozen=True)
class GivenRows(DummyForcing):
    """`rows`: the query rows that were drawn in each layer."""

    rows: tuple[list[int], ...] = ()

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


def given(config: MethodConfig, facts: Mapping[str, Any]) -> MethodConfig:
    """The config with what its case records."""
    if isinstance(config, DummyForcing):
        return GivenRows(**asdict(config), rows=tuple(facts["sampled_query_rows"]))
    if isinstance(config, ForcingKV):
        return GivenHeads(**asdict(config), heads=tuple(facts["config"]["static_heads"]))
    return config
