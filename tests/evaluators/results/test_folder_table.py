"""The table of `longtake eval`: a row per video and metric."""

from __future__ import annotations

import io
import json

import pandas

from longtake.evaluators.results.folder_table import parquet

REPORT = {
    "suite": "vbench-long",
    "protocol": "exact",
    "settings": {"protocol": "exact"},
    "versions": {"suite": "vbench-long-1", "weights.dino-vitb16": "abc", "av": "18"},
    "videos": {
        "a.mp4": {
            "sha256": "12",
            "prompt": "a wall, \"quoted\"",
            "metrics": {"x": 0.5, "x_y": None},
            "drift": {"x.slope_per_min": 0.25, "x.quarter_diff": None, "x.in_clip": 0.75, "x_y.mapped": 1.0},
            "clips": {"x": [0.25, None, 0.75], "x_y": []},
            "seconds": {"x": [0.0, 2.0, 3.5]},
            "errors": {"x_y": "too dark", "x.quarter_diff": "2 of 3 clips"},
        }
    },
}  # fmt: skip


def test_a_row_per_video_and_metric_with_all_that_was_found() -> None:
    rows = pandas.read_parquet(io.BytesIO(parquet(REPORT))).to_dict("records")
    assert len(rows) == 2
    first, second = rows
    texts = {
        "video": "a.mp4",
        "sha256": "12",
        "prompt": 'a wall, "quoted"',
        "suite": "vbench-long",
        "protocol": "exact",
    }
    assert {name: first[name] for name in texts} == texts
    assert (first["metric"], first["value"], first["slope_per_min"]) == ("x", 0.5, 0.25)
    assert pandas.isna(first["quarter_diff"])
    clips = list(first["clips"])
    assert (clips[0], pandas.isna(clips[1]), clips[2]) == (0.25, True, 0.75)
    assert list(first["clip_seconds"]) == [0.0, 2.0, 3.5]
    assert json.loads(first["numbers"]) == {"in_clip": 0.75}
    assert pandas.isna(first["error"])
    assert json.loads(first["weights"]) == {"dino-vitb16": "abc"}
    assert json.loads(first["versions"]) == {"suite": "vbench-long-1", "av": "18"}
    assert json.loads(first["settings"]) == {"protocol": "exact"}
    assert pandas.isna(second["value"])
    assert (second["metric"], second["error"], list(second["clips"])) == ("x_y", "too dark", [])
    assert json.loads(second["numbers"]) == {"mapped": 1.0}
