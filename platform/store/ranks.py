"""The records of ranks.json: the ranks of a sweep by suite and length, and the drift of its metrics. Reads no file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from longtake.platform.stats import LEVEL
from longtake.platform.store.json_records import OMIT_NONE, Statistic
from longtake.platform.takes import Cell

RANK_UNITS = {"cell": "average_rank", "prompt": "average_rank_per_prompt"}
"""Ranked unit -> field: ranks of the cells' means, or ranks within each prompt, averaged over prompts."""
SCOPES = ("overall", "within")


@dataclass(frozen=True)
class MetricRank:
    """A cell's score and rank under one metric; `scored` and `missing` count takes."""

    score: Statistic
    rank: Statistic
    scored: int = 0
    missing: int = 0


@dataclass(frozen=True)
class RankRow:
    """The ranks of one cell; rank 1 is best. `group`: letters; two cells of a board that share one are not separable.
    None with too few prompts for a test, and in files of earlier versions. `frames`: the frames' worth of tokens that a
    block attended, mean over takes; None if the takes do not say. `other_budget`: True if that is another number than
    most cells attend, else None."""

    cell: Cell
    average_rank: Statistic
    average_rank_per_prompt: Statistic
    metrics: dict[str, MetricRank] = field(default_factory=dict)
    group: str | None = field(default=None, metadata=OMIT_NONE)
    frames: float | None = field(default=None, metadata=OMIT_NONE)
    other_budget: bool | None = field(default=None, metadata=OMIT_NONE)

    def rank(self, unit: str = "cell") -> Statistic:
        """The average rank for a key of RANK_UNITS."""
        statistic: Statistic = getattr(self, RANK_UNITS[unit])
        return statistic

    def place(self, unit: str = "cell") -> tuple[bool, float, str]:
        """A sort key: best first, cells without a rank last."""
        rank = self.rank(unit).value
        return rank is None, rank or 0.0, str(self.cell)


@dataclass(frozen=True)
class LengthRanks:
    """The ranks of videos of one length; `prompt_set` identifies the set of prompts. `verdicts`: lines about the best
    two methods, one per backbone. `budget`: the attended frames of most cells."""

    seconds: int
    prompts: int = 0
    prompt_set: str | None = None
    overall: list[RankRow] = field(default_factory=list)
    within: dict[str, list[RankRow]] = field(default_factory=dict)
    verdicts: list[str] = field(default_factory=list)
    budget: float | None = field(default=None, metadata=OMIT_NONE)

    def rows(self, scope: str) -> list[RankRow]:
        """All cells, ranked together (`overall`) or within their backbone (`within`)."""
        return self.overall if scope == "overall" else [row for rows in self.within.values() for row in rows]


@dataclass(frozen=True)
class CutTake:
    """A take whose video has scene cuts."""

    take_id: str
    cell: str
    cuts: int


@dataclass(frozen=True)
class Cuts:
    """The number of videos of a suite with scene cuts, and the takes with the most cuts."""

    videos: int
    with_cuts: int
    most: list[CutTake]


@dataclass(frozen=True)
class SuiteRanks:
    """The ranks of a suite with one protocol, settings and weights. `precision` and `decode` are written only if takes
    have one of their own. `intervals`: how they were computed; {} for the bootstrap intervals of earlier versions.
    `bounds`: of each metric, the least and greatest value, None for infinity; None as a whole in files of earlier
    versions."""

    suite: str = ""
    protocol: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    ranked_column: str = "value"
    directions: dict[str, str] = field(default_factory=dict)
    intervals: dict[str, Any] = field(default_factory=dict)
    lengths: list[LengthRanks] = field(default_factory=list)
    cuts: Cuts | None = None
    precision: str | None = field(default=None, metadata=OMIT_NONE)
    decode: str | None = field(default=None, metadata=OMIT_NONE)
    bounds: dict[str, tuple[float | None, float | None]] | None = field(default=None, metadata=OMIT_NONE)

    @property
    def made(self) -> list[str]:
        """How the takes were made, where that is not as usual: 'made in fp8', 'published decode'."""
        precision = [f"made in {self.precision}"] if self.precision else []
        return precision + ([f"{self.decode} decode"] if self.decode else [])


@dataclass(frozen=True)
class Coverage:
    """The numbers of planned and of scored takes, and cell -> the number of its takes without scores; {} in files of
    earlier versions."""

    takes: int = 0
    scored: int = 0
    missing: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class DriftRow:
    """The mean of a metric in a cell, ranked or not, and its drift over a video. `drift_scored`: the number of takes
    with drift; `drift_p`: by kind of drift, p of 'no drift' after Holm's correction over the cells. Both are None in
    files of earlier versions."""

    suite: str
    backbone: str
    method: str
    seconds: int
    metric: str
    value: Statistic
    slope_per_min: Statistic
    quarter_diff: Statistic
    quarter_ratio: Statistic
    scored: int = 0
    missing: int = 0
    drift_scored: int | None = None
    drift_p: dict[str, float] | None = field(default=None, metadata=OMIT_NONE)

    @property
    def cell(self) -> Cell:
        return Cell(self.backbone, self.method, self.seconds)

    @property
    def drifts(self) -> dict[str, Statistic]:
        """The drift statistics in the order of the JSON."""
        names = ("slope_per_min", "quarter_diff", "quarter_ratio")
        return {name: getattr(self, name) for name in names}

    def without_drift(self) -> DriftRow:
        nothing = Statistic()
        return replace(self, slope_per_min=nothing, quarter_diff=nothing, quarter_ratio=nothing, drift_p=None)

    def is_significant(self, kind: str) -> bool:
        """Whether a kind of drift is distinguishable from none."""
        return self.drift_p is not None and self.drift_p.get(kind, 1.0) < LEVEL

    @property
    def is_incomplete(self) -> bool:
        """Whether at least one take is known to have no drift."""
        return self.drift_scored is not None and self.drift_scored < self.scored + self.missing


@dataclass(frozen=True)
class Ranks:
    """The content of ranks.json."""

    sweep: str
    coverage: dict[str, Coverage] = field(default_factory=dict)
    suites: dict[str, SuiteRanks] = field(default_factory=dict)
    drift: list[DriftRow] = field(default_factory=list)

    def verdicts(self) -> list[str]:
        """The verdicts of all boards, each with its suite."""
        return [f"{suite}: {line}" for suite, length in self.lengths() for line in length.verdicts]

    def drift_at(self, suite: str, seconds: int) -> list[DriftRow]:
        return [row for row in self.drift if (row.suite, row.seconds) == (suite, seconds)]

    def lengths(self, suite: str | None = None, seconds: int | None = None) -> Iterator[tuple[str, LengthRanks]]:
        """Yields (suite, ranks at a length) for all suites and lengths, or for the given ones."""
        for name, ranked in self.suites.items():
            yield from (
                (name, ranks) for ranks in ranked.lengths if suite in (None, name) and seconds in (None, ranks.seconds)
            )

    def average_ranks(self) -> dict[str, float]:
        """The average rank of every ranked cell by `rank_key`, as stored in the history."""
        ranks = {
            rank_key(suite, row.cell): row.average_rank.value for suite, its in self.lengths() for row in its.overall
        }
        return {key: value for key, value in ranks.items() if value is not None}


@dataclass(frozen=True)
class RankedRun:
    """A line of history.jsonl: the time a run ended, and its average ranks by `rank_key`."""

    at: str
    average_rank: dict[str, float] = field(default_factory=dict)


def rank_key(suite: str, cell: Cell) -> str:
    return f"{suite}:{cell}"
