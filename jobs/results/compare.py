"""`longtake compare SWEEP_FOLDER`: compares the scores of every method with a baseline, paired over prompts.

Steps: open, read the scores, compare, write the CSV, print. Two cells of a backbone and length are compared on the
prompts for which both have a value, which removes the variance between prompts; a row says if they attend unequal
numbers of frames. Means and intervals equal those of ranks.json. A difference is marked if an exact sign-flip test
finds it, after Holm's correction over the comparisons of the measure at the length. Writes nothing to the store.

Shapes: C cells, P prompts.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from longtake.evaluators.base import UNBOUNDED, Bounds, SuiteEntry, suite_entries
from longtake.jobs.console import console_for, heading, new_table, print_table, say
from longtake.jobs.results.ranks import attended_of
from longtake.jobs.results.traces import open_sweep
from longtake.jobs.workers.scoring import current_scores
from longtake.platform import budgets
from longtake.platform.errors import ConfigError
from longtake.platform.registry import did_you_mean
from longtake.platform.settings import config
from longtake.platform.stats import LEVEL, Estimate, estimate, holm, pooled_estimate, sign_flip_p
from longtake.platform.store import durable
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Cell, Take

WHOLE = "whole"
PART = ".at_"
COLUMNS = (
    *("suite", "backbone", "method", "seconds", "metric", "part", "prompts", "mean", "low", "high"),
    *("base", "pairs", "difference", "difference_low", "difference_high", "difference_p", "frames", "base_frames"),
)

Row = dict[str, Any]
Measure = tuple[str, str, str]
"""Suite, metric, and part of the video: `whole` or the name of a part."""


@dataclass
class Scores:
    """Per measure and length, the sum and count of the values of each cell and prompt over seeds; a scored take without
    a value adds 0 to both."""

    sums: dict[tuple[Measure, int], dict[Cell, dict[str, tuple[float, int]]]] = field(default_factory=dict)
    bounds: dict[tuple[str, str], Bounds] = field(default_factory=dict)  # of (suite, metric)
    attended: dict[Cell, float] = field(default_factory=dict)  # frames

    def add(self, take: Take, measure: Measure, value: float | None) -> None:
        by_prompt = self.sums.setdefault((measure, take.seconds), {}).setdefault(take.cell, {})
        total, count = by_prompt.get(take.full_prompt, (0.0, 0))
        by_prompt[take.full_prompt] = (total, count) if value is None else (total + value, count + 1)


def compare(
    folder: Path, base: str | None, metric: str | None, out: Path | None, console: Console | None = None
) -> int:
    """Run the whole job; returns 0. Raises ConfigError for a sweep, method or metric that does not exist."""
    console = console or console_for()
    store, plan, made = open_sweep(folder)
    base = base_label(base, plan, folder)
    scores = read(store, made)
    rows_by_key: dict[tuple[Cell, Measure], Row] = {}
    for measure, seconds in scores.sums:
        rows_by_key |= compare_cells(scores, measure, seconds, base)
    measures = list(dict.fromkeys(measure for _, measure in rows_by_key))
    if not measures:
        suites = ", ".join(entry.label for entry in suites_of(store))
        raise ConfigError(
            f"{folder}: none of the {len(made)} finished takes has current scores ({suites}); run the sweep again"
        )
    check_metric(metric, measures)
    keys = itertools.product(dict.fromkeys(take.cell for take in plan), measures)
    rows = [rows_by_key[key] for key in keys if key in rows_by_key]
    if out is not None:
        durable.make_folder(out.parent)
        durable.replace_file(out, csv_bytes(rows))
    for table in tables(store.name, rows, metric):
        print_table(console, table, keys=2)
    say(console, f"means over prompts; second line: difference to {base} [95 % interval, paired over prompts]")
    say(console, marks_note(rows))
    if len(made) < len(plan):
        say(console, f"note: {len(made)} of {len(plan)} takes are done; the others are left out")
    if out is not None:
        say(console, f"all numbers: {out}")
    return 0


def suites_of(store: SweepStore) -> list[SuiteEntry]:
    """The suites of the latest run of the sweep."""
    return suite_entries(config.load_yaml(store.sweep_file)["suites"])


def base_label(base: str | None, plan: list[Take], folder: Path) -> str:
    """The label of the baseline: `base`, or else the first method of the sweep."""
    labels = list(dict.fromkeys(take.method.label for take in plan))
    if base is not None and base not in labels:
        raise ConfigError(f"--base: {folder} has no method {base!r}; {did_you_mean(base, labels)}")
    return base or labels[0]


def check_metric(metric: str | None, measures: list[Measure]) -> None:
    known = list(dict.fromkeys(name for _, name, _ in measures))
    if metric is not None and metric not in known:
        raise ConfigError(f"--metric: no take has scores of {metric!r}; {did_you_mean(metric, known)}")


def read(store: SweepStore, made: list[Take]) -> Scores:
    """Read the takes' scores of ranked metrics, for the whole video and its parts."""
    from longtake.evaluators.base import bounds_of, directions
    from longtake.evaluators.results.table import made_with_of

    scores = Scores(attended=attended_of(store, made))
    made = sorted(made, key=lambda take: (take.latent_frames, take.seed, take.id))  # ranks sum seeds in this order
    for entry in suites_of(store):
        suite, metrics, made_with = entry.label, directions(entry), set[str]()
        scores.bounds |= {(suite, metric): bounds for metric, bounds in bounds_of(entry).items()}
        for take in made:
            record = current_scores(store, take, entry)
            if record is not None:
                made_with.add(made_with_of(record))
            if len(made_with) > 1:
                raise ConfigError(f"{store.folder}: {suite}: scores of several weights or devices; run the sweep again")
            for metric in metrics if record else []:
                assert record is not None
                scores.add(take, (suite, metric, WHOLE), record.metrics.get(metric))
                for name, value in record.drift.items():
                    if name.startswith(metric + PART):
                        scores.add(take, (suite, metric, name.removeprefix(metric + PART)), value)
    return scores


def compare_cells(scores: Scores, measure: Measure, seconds: int, base: str) -> dict[tuple[Cell, Measure], Row]:
    """The row of every cell of a length that has a value for the measure."""
    sums = scores.sums[measure, seconds]
    cells = sorted(sums, key=lambda cell: (cell.backbone, cell.method))
    prompts = sorted({prompt for by_prompt in sums.values() for prompt in by_prompt})
    pairs = [[sums[cell].get(prompt, (0.0, 0)) for prompt in prompts] for cell in cells]
    sums_CP, counts_CP = np.array(pairs).transpose(2, 0, 1).copy()
    with np.errstate(invalid="ignore"):
        values = dict(zip(cells, sums_CP / counts_CP, strict=True))
    against = {cell: baseline(cell, base, values) for cell in cells}
    differences = {cell: values[cell] - values[other] for cell, other in against.items() if other is not None}
    compared = {cell: difference for cell, difference in differences.items() if np.isfinite(difference).any()}
    p = dict(zip(compared, holm(sign_flip_p(np.array([*compared.values()]))), strict=True)) if compared else {}
    rows, (least, most) = {}, scores.bounds.get(measure[:2], UNBOUNDED)
    for cell, *pooled in zip(cells, sums_CP, counts_CP, strict=True):
        own = pooled_estimate(*pooled).within(least, most)
        difference = (
            estimate(differences[cell]).within(least - most, most - least)
            if cell in differences
            else Estimate(None, None, None, 0)
        )
        if own.prompts:
            frames = scores.attended.get(cell), scores.attended.get(Cell(cell.backbone, base, seconds))
            rows[cell, measure] = row_of(cell, measure, own, base, difference, p.get(cell), frames)
    return rows


def baseline(cell: Cell, base: str, known: Container[Cell]) -> Cell | None:
    """The cell to compare with; None for the baseline itself, and without one."""
    other = Cell(cell.backbone, base, cell.seconds)
    return other if cell != other and other in known else None


def row_of(
    cell: Cell,
    measure: Measure,
    own: Estimate,
    base: str,
    difference: Estimate,
    p: float | None,
    frames: tuple[float | None, float | None],
) -> Row:
    """`p`: of no difference, after Holm's correction. `frames`: those that the cell and the baseline attend."""
    suite, metric, part = measure
    return {
        **{"suite": suite, "backbone": cell.backbone, "method": cell.method, "seconds": cell.seconds},
        **{"metric": metric, "part": part, "prompts": own.prompts},
        **{"mean": own.mean, "low": own.low, "high": own.high, "base": base, "pairs": difference.prompts},
        **{"difference": difference.mean, "difference_low": difference.low, "difference_high": difference.high},
        "difference_p": None if p is None else float(p),
        **dict(zip(("frames", "base_frames"), frames, strict=True)),
    }


def marks_note(rows: list[Row]) -> str:
    """What the mark means, or why there is none."""
    from longtake.evaluators.results.verdict import too_few

    tests = "exact sign-flip tests, Holm over the comparisons of a measure at a length"
    tested: dict[Any, list[int]] = {}  # the pairs of prompts of each comparison
    for row in rows:
        tested.setdefault((row["suite"], row["metric"], row["part"], row["seconds"]), []).append(row["pairs"])
    few = [too_few(max(pairs), sum(map(bool, pairs))) for pairs in tested.values()]
    return few[0] if all(few) else f"*: p < {LEVEL:.2g} ({tests})"


def tables(sweep: str, rows: list[Row], metric: str | None) -> list[Table]:
    """One per suite and length: a column per metric, or per part of the video of `metric`."""
    key = "metric" if metric is None else "part"
    shown = [row for row in rows if (row["part"] == WHOLE if metric is None else row["metric"] == metric)]
    made = []
    for suite, seconds in dict.fromkeys((row["suite"], row["seconds"]) for row in shown):
        group = [row for row in shown if (row["suite"], row["seconds"]) == (suite, seconds)]
        title = f"{escape(sweep)}: {suite}, {seconds} s" + (f", {metric}" if metric else "")
        made.append(table_of(title, group, key))
    return made


def table_of(title: str, rows: list[Row], key: str) -> Table:
    names = list(dict.fromkeys(row[key] for row in rows))
    table = new_table(title)
    for head in ("backbone", "method"):
        table.add_column(head, no_wrap=True)
    for name in names:
        table.add_column(heading(name), justify="right", no_wrap=True)
    for backbone, method in dict.fromkeys((row["backbone"], row["method"]) for row in rows):
        mine = [row for row in rows if (row["backbone"], row["method"]) == (backbone, method)]
        cells = {row[key]: cell_text(row) for row in mine}
        table.add_row(escape(backbone), method_text(mine[0]), *(cells.get(name, "-") for name in names))
    return table


def method_text(row: Row) -> str:
    """'rag' and, below it, '(attends 12 frames against 21)' if the baseline attends another number."""
    unequal = budgets.difference(row["frames"], row["base_frames"])
    return escape(row["method"]) + (f"\n({unequal})" if unequal else "")


def cell_text(row: Row) -> str:
    """'0.508' and, below it, '+0.142* [0.110, 0.173]'."""
    text = f"{row['mean']:.4g}"
    if row["difference"] is None:
        return text
    low, high = row["difference_low"], row["difference_high"]
    interval = "" if low is None else escape(f" [{low:+.3g}, {high:+.3g}]")
    mark = "*" if row["difference_p"] is not None and row["difference_p"] < LEVEL else ""
    return f"{text}\n{row['difference']:+.3g}{mark}{interval}"


def csv_bytes(rows: list[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
    return text.getvalue().encode()
