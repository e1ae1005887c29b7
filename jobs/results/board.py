"""A board: the ranked cells of one suite and length, with its title, verdicts and notes, whatever prints it.

Reads ranks; computes none. Titles name the suite, its protocol and settings, and the number of prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

from longtake.evaluators.results.verdict import too_few
from longtake.platform import budgets
from longtake.platform.errors import ConfigError
from longtake.platform.names import counted
from longtake.platform.registry import did_you_mean
from longtake.platform.stats import LEVEL
from longtake.platform.store.ranks import RANK_UNITS, Coverage, LengthRanks, RankRow, Ranks, SuiteRanks
from longtake.platform.takes import Cell

Floors = dict[tuple[Cell, str], float | None]
"""(cell, metric) -> the metric's floor."""

MISSING_CELLS = 6
STAR_NOTE = "* some takes have no value for this metric; its mean and rank are over the others"


@dataclass(frozen=True)
class RankFilter:
    """Selects the ranks to show. `unit`: cell ranks the means of cells, prompt averages the ranks within prompts."""

    unit: str = "cell"
    suite: str | None = None
    seconds: int | None = None

    def __post_init__(self) -> None:
        if self.unit not in RANK_UNITS:
            raise ConfigError(f"--rank-unit: unknown unit {self.unit!r}; {did_you_mean(self.unit, [*RANK_UNITS])}")

    def suites(self, ranks: Ranks) -> dict[str, SuiteRanks]:
        return {name: ranked for name, ranked in ranks.suites.items() if self.suite in (None, name)}

    def lengths(self, ranked: SuiteRanks) -> list[LengthRanks]:
        return [length for length in ranked.lengths if self.seconds in (None, length.seconds)]

    def sorted(self, rows: list[RankRow]) -> list[RankRow]:
        """The rows by rank in this unit, best first."""
        return sorted(rows, key=lambda row: row.place(self.unit))


@dataclass(frozen=True)
class Board:
    """The ranks of a sweep for one suite and length, in the order of a rank unit."""

    sweep: str
    suite: str
    ranked: SuiteRanks
    length: LengthRanks
    view: RankFilter

    @property
    def title(self) -> str:
        return title_of(self.sweep, self.suite, self.ranked, self.length)

    @property
    def rows(self) -> list[RankRow]:
        """All cells, best first."""
        return self.view.sorted(self.length.overall)

    @property
    def metrics(self) -> list[str]:
        """Metrics with a value in any cell; a metric that applies to no take of the sweep has no column."""
        rows = self.length.overall
        return [
            name for name in self.ranked.directions if any(row.metrics[name].score.value is not None for row in rows)
        ]

    @property
    def has_groups(self) -> bool:
        return any(row.group for row in self.length.overall)

    @property
    def separates(self) -> bool:
        """Whether any two cells are separable, which is so if they do not all have the same letters."""
        return len({row.group for row in self.length.overall if row.group}) > 1

    @property
    def has_frames(self) -> bool:
        """Whether the cells say how many frames they attended."""
        return any(row.frames is not None for row in self.length.overall)

    def frames(self, row: RankRow) -> str:
        """'12', or '9.5+' for another budget than that of most cells."""
        return budgets.span([] if row.frames is None else [row.frames], bool(row.other_budget))

    def notes(self, metrics: Sequence[str] = ()) -> list[str]:
        """What the letters mean, and the stars of a table with these metrics, or why no difference is marked."""
        pairs = comb(sum(row.average_rank.value is not None for row in self.length.overall), 2)
        letters = (
            f"same letter: not separable (p >= {LEVEL:.2g}, exact sign-flip tests of the ranks within prompts, Holm "
            f"over {counted(pairs, 'comparison')})"
        )
        untested = self.ranked.intervals and pairs and not self.separates
        few = too_few(self.length.prompts, pairs) if untested else ""
        budget = budget_note(self.length)
        some_missing = any(row.metrics[name].missing for row in self.length.overall for name in metrics)
        notes = (letters, self.has_groups), (few, few), (STAR_NOTE, some_missing), (budget, budget)
        return [note for note, is_needed in notes if is_needed]

    def best(self, metric: str) -> set[Cell]:
        """The cells with the best mean of a metric; none if all are equal, or if the board separates no cells."""
        if not self.separates:
            return set()
        ranks = {row.cell: row.metrics[metric].rank.value for row in self.length.overall}
        known = {cell: rank for cell, rank in ranks.items() if rank is not None}
        return {cell for cell, rank in known.items() if len(set(known.values())) > 1 and rank == min(known.values())}


def boards_of(ranks: Ranks, view: RankFilter) -> list[Board]:
    """The boards of a sweep, by suite and length."""
    return [
        Board(ranks.sweep, suite, ranked, length, view)
        for suite, ranked in view.suites(ranks).items()
        for length in view.lengths(ranked)
    ]


def budget_note(length: LengthRanks) -> str:
    """What the mark of an unequal budget means; empty if budgets are equal."""
    is_marked = any(row.other_budget for row in length.overall)
    return "" if length.budget is None or not is_marked else budgets.note(length.budget)


def title_of(sweep: str, suite: str, ranked: SuiteRanks, length: LengthRanks | None = None) -> str:
    """'demo: vbench-long (exact, long range, compat all, made in fp8), 30 s, 12 prompts'."""
    made = [ranked.protocol or "nothing scored", *settings_texts(ranked), *ranked.made]
    where = f", {length.seconds} s, {counted(length.prompts, 'prompt')}" if length else ""
    return f"{sweep}: {suite} ({', '.join(made)}){where}"


def settings_texts(ranked: SuiteRanks) -> list[str]:
    """The settings of the scores, except those that the table shows already: protocol and metrics."""
    texts = []
    for name, value in ranked.settings.items():
        words = name.replace("_", " ")
        if isinstance(value, bool):
            texts.append(words if value else f"no {words}")
        elif isinstance(value, list) and not set(value) <= set(ranked.directions):
            texts.append(f"{words} {' + '.join(value)}")
    return texts


def missing_text(cover: Coverage) -> str:
    """'; missing: pocket/rag/60s (3), 4 more cells': the takes without scores."""
    cells = [f"{cell} ({count})" for cell, count in cover.missing.items()]
    more = len(cells) - MISSING_CELLS
    named = cells[:MISSING_CELLS] + ([counted(more, "more cell")] if more > 0 else [])
    return f"; missing: {', '.join(named)}" if cells else ""


def notes_of_suite(suite: str, ranked: SuiteRanks, cover: Coverage) -> list[str]:
    """Notes about takes without scores, videos with cuts, and intervals of earlier versions."""
    notes = []
    if ranked.lengths and not ranked.intervals:
        notes.append(
            f"{suite}: intervals of an earlier version, too narrow; run the sweep again, which keeps its takes"
        )
    if cover.scored < cover.takes:
        notes.append(f"{suite}: {cover.scored} of {counted(cover.takes, 'take')} scored{missing_text(cover)}")
    cuts = ranked.cuts
    if cuts and cuts.with_cuts:
        most = ", ".join(f"{one.cuts} in take {one.take_id} of {one.cell}" for one in cuts.most)
        more = ", .." if cuts.with_cuts > len(cuts.most) else ""
        notes.append(
            f"{suite}: scene cuts in {cuts.with_cuts} of {counted(cuts.videos, 'video')} ({most}{more}); "
            "a cut lowers consistency but is not drift"
        )
    return notes


def floors_of(ranks: Ranks, suite: str, seconds: int) -> Floors:
    """The chance level of the metrics that have a floor."""
    return {
        (row.cell, row.metric.removesuffix("_floor")): row.value.value
        for row in ranks.drift_at(suite, seconds)
        if row.metric.endswith("_floor")
    }
