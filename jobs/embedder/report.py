"""The results of `longtake train eval-embedder`: eval.json, two CSV files, printed tables, and a run in MLflow.

eval.json holds every number and the settings that determine them; everything else is made from it. The id hashes these
settings, but not the names of descriptors, so the same question has one folder and one run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from longtake.jobs.console import interval, new_table, number, table_bytes
from longtake.platform.store import durable
from longtake.platform.store.root import EVALUATION
from longtake.platform.takes import canonical_json
from longtake.platform.tracking.records import Publication, RunRecord, TextSet

if TYPE_CHECKING:
    from longtake.evaluators.retrieval.summary import DescriptorTally

EXPERIMENT = "eval-embedder"
PROTOCOL = 3
"""Part of a report's id; increase it when the same inputs give other numbers."""
SPREAD = ("mean", "low", "high", "prompts")
Report = dict[str, Any]
Row = dict[str, Any]


def build(facts: dict[str, Any], tallies: Sequence[DescriptorTally], base: str) -> Report:
    """Builds the report as plain JSON; differences are relative to the descriptor `base`."""
    from longtake.evaluators.retrieval.summary import measure_rows, similarity_rows
    from longtake.platform.stats import interval_settings

    hashed = {label: descriptor["sha256"] or label for label, descriptor in facts["descriptors"].items()}
    identity = [PROTOCOL, base, {**facts, "descriptors": hashed}]
    return {
        "id": hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:12],
        "protocol": PROTOCOL,
        "config": facts,
        "intervals": interval_settings(),
        "base": base,
        "measures": measure_rows(tallies, base),
        "similarity": similarity_rows(tallies, facts["latent_frames"]),
    }


def write(report: Report, folder: Path) -> list[Path]:
    """Writes eval.json, recall.csv and similarity.csv, each atomically. Raises StorageError."""
    differences = [f"difference_{key}" for key in SPREAD[:3]]
    recall = [row | flat_difference(row, report["base"]) for row in report["measures"]]
    files = {
        EVALUATION: durable.json_bytes(report),
        "recall.csv": table_bytes(recall, ["descriptor", "measure", "from_s", "to_s", *SPREAD, *differences]),
        "similarity.csv": table_bytes(report["similarity"], ["descriptor", "by", "from", "to", *SPREAD]),
    }
    for name, data in files.items():
        durable.replace_file(folder / name, data)
    return [folder / name for name in files]


def flat_difference(row: Row, base: str) -> dict[str, float | None]:
    difference = row["difference"] or {}
    return {f"difference_{key}": difference.get(key) for key in SPREAD[:3]}


# The screen


def tables(report: Report) -> list[Table]:
    """A table of similarity and recall over whole videos, and one of coverage, also by parts of the videos."""
    return [recall_table(report), coverage_table(report)]


def recall_table(report: Report) -> Table:
    config, k = report["config"], report["config"]["top_k"]
    count = len(config["prompts"])
    table = new_table(
        f"{config['backbone']}: retrieval on {count} true video{'s' * (count > 1)} of {config['seconds']:g} s "
        f"(95 % intervals over prompts; difference to {report['base']})"
    )
    table.add_column("descriptor", no_wrap=True)
    heads = {
        "local_redundancy": "local\nredundancy",
        "overlap_gap": "overlap\ngap",
        "recall": f"recall@{k}",
        "shifted_recall": f"shifted\nrecall@{k}",
        "precision": f"precision@{k}",
        "shifted_precision": f"shifted\nprecision@{k}",
    }
    for head in heads.values():
        table.add_column(head, justify="right")
    for label in config["descriptors"]:
        cells = [cell(whole(report, label, name), name not in ("overlap_gap", "precision")) for name in heads]
        table.add_row(escape(label), *cells)
    return table


def coverage_table(report: Report) -> Table:
    table = new_table(f"share of the columns new to a block that the {report['config']['top_k']} retrieved frames show")
    table.add_column("descriptor", no_wrap=True)
    for head in ("places\namong K", "coverage", *[f"{a:g} to\n{b:g} s" for a, b in parts(report)]):
        table.add_column(head, justify="right")
    for label in report["config"]["descriptors"]:
        over_time = [cell(find(report, label, "coverage", span), False) for span in parts(report)]
        places = cell(whole(report, label, "places"), False)
        table.add_row(escape(label), places, cell(whole(report, label, "coverage"), True), *over_time)
    return table


def cell(row: Row | None, differs: bool) -> str:
    """Formats a mean with its interval and, below, the difference to the base."""
    if row is None or row["mean"] is None:
        return "-"
    text = number(row["mean"], 3) + bounds(row)
    difference = row["difference"]
    if not differs or difference is None or difference["mean"] is None:
        return text
    return f"{text}\n{difference['mean']:+.3f}{bounds(difference)}"


def bounds(row: Row) -> str:
    return interval((row["low"], row["high"]), 3) if row["low"] is not None else ""


def legend(report: Report) -> str:
    return (
        "local redundancy: mean cosine of frames 1 to 3 apart. overlap gap: mean cosine of repeated views less that of "
        "views without shared columns. recall: share of blocks for which one of the K frames shows half or more of the "
        "query's columns; shifted: the same without copies of the query's own view, which are easy to retrieve. "
        "coverage: share of the columns new to a block and present in the bank that the K frames show"
    )


def parts(report: Report) -> list[tuple[float, float]]:
    """The parts of the videos in order; the whole only if there are no parts."""
    spans = sorted({(row["from_s"], row["to_s"]) for row in report["measures"]})
    return spans if len(spans) == 1 else [span for span in spans if span != (0.0, report["config"]["seconds"])]


def whole(report: Report, label: str, measure: str) -> Row | None:
    return find(report, label, measure, (0.0, report["config"]["seconds"]))


def find(report: Report, label: str, measure: str, span: tuple[float, float]) -> Row | None:
    key = (label, measure, *span)
    for row in report["measures"]:
        if (row["descriptor"], row["measure"], row["from_s"], row["to_s"]) == key:
            return dict(row)
    return None


# MLflow


def publication(report: Report, files: list[Path]) -> Publication:
    """One run: settings as params, the most important means as metrics, and all numbers in the tables of `files`."""
    config = report["config"]
    kept = ("backbone", "seconds", "seed", "noise", "top_k", "recency_guard")
    params = {name: str(config[name]) for name in kept} | {
        "base": report["base"],
        "prompts": str(len(config["prompts"])),
        "prompts_sha256": hashlib.sha256(canonical_json(config["prompts"]).encode()).hexdigest()[:16],
    }
    for label, descriptor in config["descriptors"].items():
        params[f"descriptor.{label}"] = descriptor["sha256"] or label
    record = RunRecord(
        key=f"{EXPERIMENT}:{report['id']}",
        name=f"eval-{report['id']}",
        params=params,
        tags={"longtake.kind": EXPERIMENT},
        metrics=metrics_of(report),
        dataset=TextSet("prompts", config["prompts"]),
        artifacts=[(path, "figures" if path.suffix == ".png" else "") for path in files],
    )
    return Publication(EXPERIMENT, record, [])


HEADLINES = ("recall", "shifted_recall", "coverage", "overlap_gap")


def metrics_of(report: Report) -> dict[str, float]:
    """The means over whole videos of HEADLINES."""
    rows = {
        (label, name): whole(report, label, name) for label in report["config"]["descriptors"] for name in HEADLINES
    }
    return {
        f"{label}/{name}": row["mean"]
        for (label, name), row in rows.items()
        if row is not None and row["mean"] is not None
    }
