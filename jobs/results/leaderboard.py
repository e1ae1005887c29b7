"""Leaderboards as text: the ranks of a sweep and their changes between runs. Reads ranks; computes none.

A table has one suite, protocol, set of settings, length and rank unit, all named in its title.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from longtake.evaluators.results.verdict import too_few
from longtake.jobs.console import heading, interval, new_table, number, say
from longtake.platform.errors import ConfigError
from longtake.platform.names import counted
from longtake.platform.registry import did_you_mean
from longtake.platform.store.json_records import Statistic
from longtake.platform.store.ranks import RANK_UNITS, Coverage, LengthRanks, RankRow, Ranks, SuiteRanks, rank_key
from longtake.platform.takes import Cell

FIXED_WIDTH = 72
METRIC_WIDTH = 13
NO_MOVE = 5e-3
MISSING_CELLS = 6

Floors = dict[tuple[Cell, str], float | None]
"""(cell, metric) -> the metric's floor."""


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


def show(
    ranks: Ranks, console: Console, before: dict[str, float] | None = None, view: RankFilter | None = None
) -> None:
    """Print one table per suite and length. `before`: average ranks (unit cell) of an earlier run, by `rank_key`."""
    view = view or RankFilter()
    for suite, ranked in view.suites(ranks).items():
        for length in view.lengths(ranked):
            floors = floors_of(ranks, suite, length.seconds)
            title = title_of(ranks.sweep, suite, ranked, length)
            for line in length.verdicts:
                say(console, line)
            console.print(length_table(title, suite, ranked, length, console.width, before or {}, floors, view))
            for note in notes_of(ranked, length, console.width):
                console.print(note)
        for note in notes_of_suite(suite, ranked, ranks.coverage.get(suite, Coverage())):
            console.print(note, markup=False, soft_wrap=True)


def title_of(sweep: str, suite: str, ranked: SuiteRanks, length: LengthRanks | None = None) -> str:
    """'demo: vbench-long (exact, long range, compat all, made in fp8), 30 s, 12 prompts', safe to print as markup."""
    made = [ranked.protocol or "nothing scored", *settings_texts(ranked), *ranked.made]
    where = f", {length.seconds} s, {counted(length.prompts, 'prompt')}" if length else ""
    return escape(f"{sweep}: {suite} ({', '.join(made)}){where}")


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


def scored_metrics(ranked: SuiteRanks, length: LengthRanks) -> list[str]:
    """Metrics with a value in any cell; a metric that applies to no take of the sweep has no column."""
    rows = length.overall
    return [name for name in ranked.directions if any(row.metrics[name].score.value is not None for row in rows)]


def notes_of(ranked: SuiteRanks, length: LengthRanks, width: int) -> list[str]:
    """Notes below a table: what its letters mean, hidden columns, and means over only some of the takes."""
    names = scored_metrics(ranked, length)
    hidden = names[shown_metrics(width) :]
    some_missing = any(row.metrics[name].missing for row in length.overall for name in names)
    star_note = "* some takes have no value for this metric; its mean and rank are over the others"
    hidden_note = f"hidden, terminal too narrow (included in the ranks; see ranks.json): {', '.join(hidden)}"
    pairs = len(length.overall) * (len(length.overall) - 1) // 2
    group_note = (
        "group: cells with a common letter are not separable (p >= 0.05, exact sign-flip tests of their ranks within "
        f"prompts, Holm over {counted(pairs, 'comparison')})"
    )
    few = too_few(length.prompts)
    notes = (group_note, has_groups(length)), (few, few), (star_note, some_missing), (hidden_note, hidden)
    return [note for note, is_needed in notes if is_needed]


def has_groups(length: LengthRanks) -> bool:
    return any(row.group for row in length.overall)


def shown_metrics(width: int) -> int:
    """Number of metric columns that fit in a table of this width."""
    return max(1, (width - FIXED_WIDTH) // METRIC_WIDTH)


def length_table(
    title: str,
    suite: str,
    ranked: SuiteRanks,
    length: LengthRanks,
    width: int,
    before: dict[str, float],
    floors: Floors,
    view: RankFilter,
) -> Table:
    before = before if view.unit == "cell" else {}
    table = new_table(f"{title} (rank unit: {view.unit}; rank 1 is best; [95 % interval])")
    for name, justify in (("#", "right"), ("backbone", "left"), ("method", "left")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("average rank", no_wrap=True)
    table.add_column("in backbone", no_wrap=True)
    if has_groups(length):
        table.add_column("group", no_wrap=True)
    if before:
        table.add_column("was", justify="right", no_wrap=True)
    metrics = scored_metrics(ranked, length)[: shown_metrics(width)]
    with_floor = {name for _, name in floors}
    for name in metrics:
        arrow = ranked.directions[name] + (", floor" if name in with_floor else "")
        table.add_column(f"{heading(name)}\n({arrow})", justify="right", no_wrap=True)
    within = {row.cell: row for row in length.rows("within")}
    for place, row in enumerate(view.sorted(length.overall), 1):
        change = [movement(row.average_rank.value, before.get(rank_key(suite, row.cell)))] if before else []
        scores = [
            number(row.metrics[name].score.value)
            + ("*" if row.metrics[name].missing else "")
            + floor_text(floors.get((row.cell, name)))
            for name in metrics
        ]
        places = [ranked_text(one.rank(view.unit)) for one in (row, within[row.cell])]
        group = [row.group or ""] if has_groups(length) else []
        table.add_row(str(place), row.cell.backbone, row.cell.method, *places, *group, *change, *scores)
    return table


def floor_text(floor: float | None) -> str:
    return "" if floor is None else f" ({floor:.3g})"


def ranked_text(rank: Statistic) -> str:
    return number(rank.value, 2) + interval(rank.interval, 2)


def movement(now: float | None, before: float | None) -> str:
    if before is None:
        return "new"
    if now is None or abs(now - before) < NO_MOVE:
        return f"{before:.2f} ="
    return f"{before:.2f} {'up' if now < before else 'down'}"


def folder_table(report: dict[str, Any], folder: str) -> Table:
    """The scores of `longtake eval`, one row per video."""
    return video_table(report, f"{folder}: {report['suite']}", lambda entry, name: number(entry["metrics"].get(name)))


def drift_table(report: dict[str, Any], folder: str) -> Table:
    """Drift of each metric over each video: last quarter minus first, and their ratio for metrics that report it."""
    title = f"{folder}: drift, last quarter minus first (x: last over first)"
    return video_table(report, title, lambda entry, name: drift_text(entry["drift"], name))


def video_table(report: dict[str, Any], title: str, cell: Callable[[dict[str, Any], str], str]) -> Table:
    """A table with one row per video and one column per metric."""
    names = list(dict.fromkeys(name for entry in report["videos"].values() for name in entry["metrics"]))
    table = new_table(escape(title))
    table.add_column("video", overflow="fold")
    for name in names:
        table.add_column(heading(name), justify="right", no_wrap=True)
    for video, entry in report["videos"].items():
        table.add_row(escape(video), *[cell(entry, name) for name in names])
    return table


def drift_text(drift: dict[str, float | None], name: str) -> str:
    change, ratio = drift.get(f"{name}.quarter_diff"), drift.get(f"{name}.quarter_ratio")
    if change is None:
        return "-"
    return f"{change:+.3g}" + ("" if ratio is None else f" (x{ratio:.2f})")
