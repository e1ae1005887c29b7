"""Builds the tracking records of a sweep: a parent run, and a child run per cell with a finished take.

Reads the store and opens no connection. A run has at most HEADLINES metrics, which MLflow shows as columns and charts;
all numbers are in the tables among its files. The key of a child run contains a hash of its parameters, so that a
different cell with the same label is a different run.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from longtake.evaluators.base import SuiteEntry
from longtake.jobs.workers.scoring import current_scores
from longtake.platform.build_info import MODIFIED
from longtake.platform.names import counted
from longtake.platform.store.json_records import Statistic
from longtake.platform.store.plans import OUTPUT, portable_params
from longtake.platform.store.ranks import SCOPES, RankRow, Ranks
from longtake.platform.store.records import TakeResult
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Cell, Take, canonical_json
from longtake.platform.tracking.publish import COMMIT
from longtake.platform.tracking.records import RUN_ID, Publication, RunRecord, TextSet

HEADLINES = 20
DASHBOARD = "http://127.0.0.1:8765/"
"""Where `longtake dashboard` serves by default."""
Numbers = dict[str, Statistic]
"""Name of a number -> its value and interval; no value: missing."""


@dataclass(frozen=True)
class SweepView:
    """What the records of one publication are made from, read once. starts: take id -> the start of the first attempt
    at a made take, if it is recorded."""

    store: SweepStore
    takes: list[Take]
    suites: list[SuiteEntry]
    results: dict[str, TakeResult]
    starts: dict[str, datetime]
    ranks: Ranks

    def made(self, takes: list[Take]) -> list[Take]:
        return [take for take in takes if take.id in self.results]


def build(store: SweepStore, takes: list[Take], suites: list[SuiteEntry], experiment: str) -> Publication:
    """The publication of the current state of the store."""
    done = store.done_ids()
    results = {take.id: result for take in takes if take.id in done and (result := store.result(take.id)) is not None}
    starts = {take_id: time for take_id in results if (time := store.first_attempt(take_id)) is not None}
    view = SweepView(store, takes, suites, results, starts, store.ranks() or Ranks(store.name))
    cells: dict[Cell, list[Take]] = {}
    for take in takes:
        cells.setdefault(take.cell, []).append(take)
    children = [cell_record(view, cell, part) for cell, part in cells.items() if view.made(part)]
    return Publication(experiment, sweep_record(view), children)


def sweep_record(view: SweepView) -> RunRecord:
    store, takes, failures = view.store, view.takes, view.store.failures()
    files = [store.sweep_file, store.ranks_file, store.table_file, store.contact_sheet_file]
    return RunRecord(
        key=f"sweep:{store.name}",
        name=store.name,
        tags={
            "longtake.kind": "sweep",
            "longtake.sweep": store.name,
            "longtake.backbones": comma_separated(take.backbone for take in takes),
            "longtake.methods": comma_separated(take.method.label for take in takes),
            "longtake.lengths_s": comma_separated(str(take.seconds) for take in takes),
            "longtake.suites": comma_separated(entry.label for entry in view.suites),
            **code_tags(view.results.values()),
        },
        metrics={
            "takes.planned": float(len(takes)),
            "takes.made": float(len(view.results)),
            "takes.with_failures": float(sum(take.id in failures for take in takes)),
        },
        artifacts=[(path, "") for path in files if path.is_file()],
        texts={"prompts.csv": csv_text(["prompt"], [[text] for text in prompts_of(takes).texts])},
        note=sweep_note(view),
        dataset=prompts_of(takes),
        **times(view, takes),
    )


def sweep_note(view: SweepView) -> str:
    """The description: the verdicts, the size of the sweep, its picture and its page in the dashboard."""
    store, takes = view.store, view.takes
    cells, prompts = len({take.cell for take in takes}), counted(len(prompts_of(takes).texts), "prompt")
    size = f"{len(view.results)} of {counted(len(takes), 'take')} in {counted(cells, 'cell')}, {prompts}."
    sheet = store.contact_sheet_file
    path = f"get-artifact?path={sheet.name}&run_uuid={RUN_ID}"
    picture = [f"![contact sheet: frames over time, a row per cell]({path})"] if sheet.is_file() else []
    return "\n\n".join([*view.ranks.verdicts(), size, *picture, dashboard_line("sweep", sweep=store.name)])


def dashboard_line(page: str, **params: str) -> str:
    """How to open a page of the dashboard."""
    url = f"{DASHBOARD}#/{page}?{urlencode(params)}"
    return f"Dashboard: [{url}]({url}), while `longtake dashboard` runs on the output folder."


def cell_record(view: SweepView, cell: Cell, takes: list[Take]) -> RunRecord:
    store, made = view.store, view.made(takes)
    params = cell_params(takes[0], store.root.folder)
    key_hash = hashlib.sha256(canonical_json([params, takes[0].fingerprint]).encode()).hexdigest()[:12]
    numbers = cell_numbers(cell, view.ranks) | costs([view.results[take.id] for take in made])
    missing = sorted(name for name, number in numbers.items() if number.value is None)
    identity = {
        "longtake.sweep": store.name,
        "longtake.cell": str(cell),
        **{f"longtake.sha256.{name}": digest for name, digest in takes[0].fingerprint},
    }
    return RunRecord(
        key=f"cell:{store.name}:{cell}:{key_hash}",
        name=str(cell),
        params=params,
        tags={
            "longtake.kind": "cell",
            "longtake.takes": f"{len(made)} of {len(takes)}",
            **identity,
            **({"longtake.unscored": ", ".join(missing)} if missing else {}),
            **code_tags([view.results[take.id] for take in made]),
        },
        metrics=headlines(numbers),
        artifacts=[(store.video(made[0].id), "video")],
        texts={"numbers.csv": numbers_table(numbers), "over_time.csv": over_time_table(view, takes)},
        note=f"{len(made)} of {counted(len(takes), 'take')}. {dashboard_line('leaderboard', sweep=store.name)}",
        dataset=prompts_of(takes),
        same=frozenset(identity) if any(value.startswith(OUTPUT) for value in params.values()) else frozenset(),
        **times(view, takes),
    )


def cell_params(take: Take, output: Path) -> dict[str, str]:
    """The parameters that define a cell; the same in every publication, also after the output folder was moved."""
    params = {
        "backbone": take.backbone,
        "method": take.method.name,
        "label": take.method.label,
        "seconds": str(take.seconds),
        "latent_frames": str(take.latent_frames),
        "start_frames": str(take.prefix_frames),
    }
    return params | {f"method.{name}": str(value) for name, value in sorted(portable_params(take, output).items())}


def prompts_of(takes: list[Take]) -> TextSet:
    return TextSet("prompts", list(dict.fromkeys(take.full_prompt for take in takes)))


def code_tags(results: Iterable[TakeResult]) -> dict[str, str]:
    """The commits of the code that made the takes, where their records have them; MLflow shows the last one."""
    versions = sorted({result.versions["commit"] for result in results if "commit" in result.versions})
    if not versions:
        return {}
    return {COMMIT: versions[-1].removesuffix(MODIFIED), "longtake.commits": ", ".join(versions)}


def times(view: SweepView, takes: list[Take]) -> dict[str, Any]:
    """When the first attempt at a take began, and when the last video was complete; None if the records do not say."""
    made = view.made(takes)
    starts = [view.starts[take.id] for take in made if take.id in view.starts]
    ends = [time for take in made if (time := view.results[take.id].made_time) is not None]
    return {"started": min(starts, default=None), "ended": max(ends) if len(ends) == len(made) > 0 else None}


# Numbers


def cell_numbers(cell: Cell, ranks: Ranks) -> Numbers:
    """Ranks, scores and drift with their intervals, the most important first."""
    numbers: Numbers = {}
    rows = [
        (suite, scope, row)
        for suite, ranked in ranks.suites.items()
        for scope in SCOPES
        for length in ranked.lengths
        for row in length.rows(scope)
        if row.cell == cell
    ]
    for suite, scope, row in rows:
        numbers[f"{suite}/rank_{scope}"] = row.average_rank
    for suite, scope, row in rows:
        if scope == "overall":
            numbers |= {f"{suite}/{metric}": ranked.score for metric, ranked in row.metrics.items()}
    for means in ranks.drift:
        if means.cell == cell:
            numbers.setdefault(f"{means.suite}/{means.metric}", means.value)
    for means in ranks.drift:
        if means.cell == cell:
            name = f"{means.suite}/{means.metric}"
            numbers |= {f"{name}.{part}": drift for part, drift in means.drifts.items() if drift.value is not None}
    for suite, scope, row in rows:
        numbers |= details(suite, scope, row)
    return numbers


def details(suite: str, scope: str, row: RankRow) -> Numbers:
    numbers = {f"{suite}/rank_per_prompt_{scope}": row.average_rank_per_prompt}
    for metric, ranked in row.metrics.items():
        numbers[f"{suite}/{metric}.rank_{scope}"] = ranked.rank
        if scope == "overall":
            numbers[f"{suite}/{metric}.missing"] = Statistic(float(ranked.missing))
    return numbers


def costs(results: list[TakeResult]) -> Numbers:
    """Attended frames and seconds of each stage, means over takes; the largest bank and memory."""
    stages = sorted({stage for result in results for stage in result.timings})
    numbers = {f"seconds/{s}": Statistic(mean([r.timings[s] for r in results if s in r.timings])) for s in stages}
    attended = [result.attended_frames for result in results if result.attended_frames]
    numbers |= {"frames/attended": Statistic(mean(attended))} if attended else {}
    numbers["bytes/bank"] = Statistic(max((float(result.bank_bytes) for result in results), default=0.0))
    numbers["bytes/peak_rss"] = Statistic(max((float(result.peak_rss_bytes) for result in results), default=0.0))
    return numbers


MEASURED = ("frames/", "seconds/", "bytes/")
COSTS = ("frames/attended", "seconds/wall", "bytes/bank")


def headlines(numbers: Numbers) -> dict[str, float]:
    """The first numbers and the costs that a run shows, without those that are missing."""
    kept = [name for name in numbers if not name.startswith(MEASURED)][: HEADLINES - len(COSTS)]
    known = {name: numbers[name].value for name in [*kept, *COSTS] if name in numbers}
    return {name: value for name, value in known.items() if value is not None}


def numbers_table(numbers: Numbers) -> str:
    """All numbers of a cell as CSV; no value: missing."""
    rows = [[name, number.value, *(number.interval or (None, None))] for name, number in numbers.items()]
    return csv_text(["name", "value", "low", "high"], rows)


def over_time_table(view: SweepView, takes: list[Take]) -> str:
    """Per metric, the mean over takes of the clip scores, by start second of the clip, as CSV."""
    sums: dict[tuple[str, int], list[float]] = {}
    for take in takes:
        for entry in view.suites:
            scores = current_scores(view.store, take, entry)
            for metric, clips in scores.clips.items() if scores else ():
                for second, value in zip(scores.seconds.get(metric, []), clips, strict=False):  # type: ignore[union-attr]
                    if value is not None:
                        sums.setdefault((f"{entry.label}/{metric}", round(second)), []).append(value)
    rows = [[name, second, mean(values), len(values)] for (name, second), values in sorted(sums.items())]
    return csv_text(["name", "second", "mean", "clips"], rows)


def csv_text(header: list[str], rows: Iterable[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def comma_separated(values: Any) -> str:
    return ", ".join(dict.fromkeys(values))
