"""`longtake eval` shows how each metric moved over a video."""

import io

from longtake.jobs.console import console_for
from longtake.jobs.folder_eval.tables import drift_table, drift_text


def test_drift_is_a_difference_and_a_ratio_where_there_is_one():
    drift = {"chroma_noise.quarter_diff": 195.2, "chroma_noise.quarter_ratio": 6.184, "x.quarter_diff": -0.003}
    assert drift_text(drift, "chroma_noise") == "+195 (x6.18)"
    assert drift_text(drift, "x") == "-0.003"
    assert drift_text(drift, "missing") == "-"


def test_names_are_printed_as_they_are():
    out = io.StringIO()
    entry = {"metrics": {"a_b": None}, "drift": {"a_b.quarter_diff": None}}
    console_for(out).print(drift_table({"videos": {"[bold]x.mp4": entry}}, "/data/[raw]"))
    assert "[bold]x.mp4" in out.getvalue()
    assert "/data/[raw]" in out.getvalue()
