"""The base of methods whose layers or heads attend different entries."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from longtake.platform.methods.base import Attended, Group, Method, Plan, Rerun, RolloutInfo, Row, Tokens, summed_up

if TYPE_CHECKING:
    import numpy as np


class GroupedMethod(Method):
    """Subclasses say what each group of heads attends. `spec`: the sizes of the network."""

    grouped = True

    def __init__(self, info: RolloutInfo):
        super().__init__(info)
        assert info.network is not None, "the engine gives methods with groups the sizes of its network"
        self.spec = info.network

    @abstractmethod
    def groups(self, row: int, first: int) -> tuple[Group, ...]:
        """What block `first` attends in one batch row. Every head of every layer is in one group; the new frames end
        the row of each, at time indices which are also those of their queries."""

    def plan(self, first: int) -> Plan:
        groups = [self.groups(row, first) for row in range(self.info.rows)]
        new = groups[0][0].row[-self.window.block :]
        return summed_up(groups, tuple(at.time for at in new), self.spec)

    def layer(self, layer: int, whole: Row, tokens: Tokens | None = None) -> Group:
        """A group of all heads of one layer."""
        return Group((layer,), tuple(range(self.spec.heads)), whole, tokens)

    def by_kind(self, kinds: np.ndarray, rows: Mapping[int, Row]) -> tuple[Group, ...]:
        """Groups of heads that attend the row of their kind [layers, heads]."""
        return tuple(
            Group((layer,), tuple((its == kind).nonzero()[0].tolist()), rows[kind])
            for layer, its in enumerate(kinds)
            for kind in sorted({*its.tolist()})
        )

    def around(self, row: int, first: int, whole: Row) -> tuple[Group, ...]:
        """Groups that all attend `whole`, in one batch row. Subclasses add what some heads attend besides."""
        return tuple(self.layer(layer, whole) for layer in range(self.spec.layers))

    def recached(self, first: int, again: range, keep_sink: bool = True, watched: bool = False) -> Rerun:
        """The frames `again`, computed anew before block `first` at their own time indices: they see each other and, by
        default, the sink before them."""
        kept = range(min(self.window.sink, again.start) if keep_sink else 0)
        whole = (*(Attended(f, f, "sink") for f in kept), *(Attended(f, f, "block") for f in again))
        groups = [self.around(row, first, whole) for row in range(self.info.rows)]
        return Rerun(again, summed_up(groups, tuple(again), self.spec), watched)
