"""`longtake eval` shows how each metric moved over a video."""

import io
from typing import Any

from rich.console import Console

from longtake.jobs.folder_eval.tables import drift_text, print_scores


def test_drift_is_a_difference_and_a_ratio_where_there_is_one():
    drift = {"chroma_noise.quarter_diff": 195.2, "chroma_noise.quarter_ratio": 6.184, "x.quarter_diff": -0.003}
    assert drift_text(drift, "chroma_noise") == "+195 (x6.18)"
    assert drift_text(drift, "x") == "-0.003"
    assert drift_text(drift, "missing") == "-"


def entry_of(**metrics: float | None) -> dict[str, Any]:
    return {"metrics": metrics, "drift": {f"{name}.quarter_diff": value for name, value in metrics.items()}}


def printed(videos: dict[str, Any], width: int = 176) -> str:
    out = io.StringIO()
    print_scores({"suite": "s", "videos": videos}, "/data/[raw]", Console(file=out, width=width))
    return out.getvalue()


def test_names_are_printed_as_they_are():
    out = printed({"[bold]x.mp4": entry_of(a_b=None)})
    assert "[bold]x.mp4" in out
    assert "/data/[raw]: s" in out


def test_a_file_name_is_never_broken():
    name = "a-corgi-on-a-beach-at-sunset-with-a-long-prompt-as-its-name.mp4"
    metrics = {f"quality_{number}": number / 8 for number in range(8)}
    lines = printed({name: entry_of(**metrics), "b.mp4": entry_of(**metrics)}, width=80).splitlines()
    assert all(len(line) <= 80 for line in lines)
    rows = [line.split() for line in lines if line.startswith(name)]
    assert sorted(value for row in rows for value in row[1:]) == sorted(f"{value:.4g}" for value in metrics.values())
    wide = {f"metric_{'x' * 30}": 0.5}
    narrow = printed({name: entry_of(**wide), "b.mp4": entry_of(**wide)}, width=60).splitlines()
    assert f"  1  {name}" in narrow
    assert [line.split() for line in narrow if line.startswith("1 ")] == [["1", "0.5"]]
