"""A report of `longtake eval` as a table with one row per video and metric.

Columns: video, sha256, prompt, suite, protocol, settings (JSON), metric, value, the three drift columns, clips and
clip_seconds (lists; a clip without a score is null), numbers (JSON of all further named numbers of
the metric), error, weights and versions (JSON). A missing number is null, with its reason in `error`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from longtake.evaluators.drift import DIFF, RATIO, SLOPE

DRIFT = (SLOPE, DIFF, RATIO)
TEXTS = ("video", "sha256", "prompt", "suite", "protocol", "settings", "metric")
WEIGHTS = "weights."


def rows(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows, in the order of the report."""
    versions = report["versions"]
    common = {
        "suite": report["suite"],
        "protocol": report["protocol"],
        "settings": as_json(report["settings"]),
        "weights": as_json({k.removeprefix(WEIGHTS): v for k, v in versions.items() if k.startswith(WEIGHTS)}),
        "versions": as_json({k: v for k, v in versions.items() if not k.startswith(WEIGHTS)}),
    }
    for video, entry in report["videos"].items():
        for metric, value in entry["metrics"].items():
            named = {
                name.removeprefix(f"{metric}."): number
                for name, number in entry["drift"].items()
                if name.startswith(f"{metric}.")
            }
            yield common | {
                "video": video,
                "sha256": entry["sha256"],
                "prompt": entry["prompt"],
                "metric": metric,
                "value": value,
                **{name: named.pop(name, None) for name in DRIFT},
                "clips": entry["clips"].get(metric, []),
                "clip_seconds": entry["seconds"].get(metric, []),
                "numbers": as_json(named),
                "error": entry["errors"].get(metric),
            }


def parquet(report: Mapping[str, Any]) -> bytes:
    """The table as a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    text, number, numbers = pyarrow.string(), pyarrow.float64(), pyarrow.list_(pyarrow.float64())
    schema = pyarrow.schema(
        [(name, text) for name in TEXTS]
        + [(name, number) for name in ("value", *DRIFT)]
        + [("clips", numbers), ("clip_seconds", numbers)]
        + [(name, text) for name in ("numbers", "error", "weights", "versions")]
    )
    target = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows(report)), schema=schema), target)
    return target.getvalue()


def as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)
