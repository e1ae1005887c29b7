"""Builds the tracking records of a sweep: a parent run, and a child run per cell with a finished take.

Reads the store and opens no connection. The key of a child run contains a hash of its parameters, so that a different
cell with the same label is a different run.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from longtake.evaluators.base import SuiteEntry
from longtake.jobs.workers.scoring import current_scores
from longtake.platform.store.json_records import Statistic
from longtake.platform.store.plans import OUTPUT, portable_params
from longtake.platform.store.ranks import SCOPES, RankRow, Ranks
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Cell, Take, canonical_json
from longtake.platform.tracking.publish import Publication, RunRecord


def build(store: SweepStore, takes: list[Take], suites: list[SuiteEntry], experiment: str) -> Publication:
    """The publication of the current state of the store."""
    ranks = store.ranks() or Ranks(store.name)
    cells: dict[Cell, list[Take]] = {}
    for take in takes:
        cells.setdefault(take.cell, []).append(take)
    done = store.done_ids()
    made = {cell: [take for take in part if take.id in done] for cell, part in cells.items()}
    children = [cell_record(store, cell, part, made[cell], suites, ranks) for cell, part in cells.items() if made[cell]]
    return Publication(experiment, sweep_record(store, takes, suites), children)


def sweep_record(store: SweepStore, takes: list[Take], suites: list[SuiteEntry]) -> RunRecord:
    done, failures = store.done_ids(), store.failures()
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
            "longtake.suites": comma_separated(entry.label for entry in suites),
        },
        metrics={
            "takes.planned": float(len(takes)),
            "takes.made": float(sum(take.id in done for take in takes)),
            "takes.with_failures": float(sum(take.id in failures for take in takes)),
        },
        artifacts=[(path, "") for path in files if path.is_file()],
    )


def cell_record(
    store: SweepStore, cell: Cell, takes: list[Take], made: list[Take], suites: list[SuiteEntry], ranks: Ranks
) -> RunRecord:
    params = cell_params(takes[0], store.root.folder)
    key_hash = hashlib.sha256(canonical_json([params, takes[0].fingerprint]).encode()).hexdigest()[:12]
    metrics, missing = cell_metrics(cell, ranks)
    results = [result for take in made if (result := store.result(take.id)) is not None]
    for stage in sorted({stage for result in results for stage in result.timings}):
        metrics[f"seconds/{stage}"] = mean([r.timings[stage] for r in results if stage in r.timings])
    metrics["bytes/bank"] = max((float(r.bank_bytes) for r in results), default=0.0)
    metrics["bytes/peak_rss"] = max((float(r.peak_rss_bytes) for r in results), default=0.0)
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
            "longtake.takes": f"{len(results)} of {len(takes)}",
            **identity,
            **({"longtake.unscored": ", ".join(missing)} if missing else {}),
        },
        metrics=metrics,
        series=over_time(store, takes, suites),
        artifacts=[(store.video(made[0].id), "video")],
        same=frozenset(identity) if any(value.startswith(OUTPUT) for value in params.values()) else frozenset(),
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


def cell_metrics(cell: Cell, ranks: Ranks) -> tuple[dict[str, float], list[str]]:
    """(scores, ranks and drift, with their intervals; names of the metrics without a value)."""
    metrics: dict[str, float | None] = {}
    for suite, ranked in ranks.suites.items():
        for length in ranked.lengths:
            for scope in SCOPES:
                for row in length.rows(scope):
                    if row.cell == cell:
                        metrics |= row_metrics(suite, scope, row)
    for means in ranks.drift:
        if means.cell == cell:
            name = f"{means.suite}/{means.metric}"
            metrics = with_interval(name, means.value) | metrics
            for part, drift in means.drifts.items():
                if drift.value is not None:
                    metrics |= with_interval(f"{name}.{part}", drift)
    missing = sorted(name for name, value in metrics.items() if value is None)
    return {name: value for name, value in metrics.items() if value is not None}, missing


def row_metrics(suite: str, scope: str, row: RankRow) -> dict[str, float | None]:
    metrics = with_interval(f"{suite}/rank_{scope}", row.average_rank)
    metrics |= with_interval(f"{suite}/rank_per_prompt_{scope}", row.average_rank_per_prompt)
    for metric, ranked in row.metrics.items():
        metrics |= with_interval(f"{suite}/{metric}.rank_{scope}", ranked.rank)
        if scope == "overall":
            metrics |= with_interval(f"{suite}/{metric}", ranked.score)
            metrics[f"{suite}/{metric}.missing"] = float(ranked.missing)
    return metrics


def with_interval(name: str, statistic: Statistic) -> dict[str, float | None]:
    bounds = statistic.interval if statistic.value is not None else None
    return {name: statistic.value} | ({f"{name}.low": bounds[0], f"{name}.high": bounds[1]} if bounds else {})


def over_time(store: SweepStore, takes: list[Take], suites: list[SuiteEntry]) -> dict[str, list[tuple[int, float]]]:
    """Per metric, the mean over takes of the clip scores, by start second of the clip (step = second)."""
    sums: dict[str, dict[int, list[float]]] = {}
    for take in takes:
        for entry in suites:
            scores = current_scores(store, take, entry)
            for metric, clips in scores.clips.items() if scores else ():
                for second, value in zip(scores.seconds.get(metric, []), clips, strict=False):  # type: ignore[union-attr]
                    if value is not None:
                        sums.setdefault(f"{entry.label}/{metric}.over_time", {}).setdefault(round(second), []).append(
                            value
                        )
    return {name: [(step, mean(values)) for step, values in sorted(steps.items())] for name, steps in sums.items()}


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def comma_separated(values: Any) -> str:
    return ", ".join(dict.fromkeys(values))
