"""The report counts a goal as met only by measurements on a GPU, shows failures first, and merges runs."""

import json

import pytest

from tests.gpu.bench import number, tables
from tests.gpu.goals import GOALS
from tests.gpu.summary import SMOKE_NOTE, console, goal_rows, markdown, read


def row(step, name, value, unit="", note=""):
    return {"step": step, "name": name, "value": value, "unit": unit, "note": note}


def ended(step, code=0, seconds=3):
    return {"step": step, "exit": code, "seconds": seconds}


def write(folder, *records):
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, records)))
    return folder


H100 = row("machine", "device", "NVIDIA H100")
FAST = [
    row("bench", "denoise fps: native", 36.5),
    row("bench", "end to end fps: native", 20.0),
    row("bench", "time to native: rag", 1.02),
]


def test_goals_are_read_off_their_rows(tmp_path):
    late = row("long", "late over early", 1.06)
    run = read([write(tmp_path, H100, *FAST, late, row("bench-compiled", "denoise fps: native", "FAILED"))])
    found = {what: (measured, met) for what, _, measured, met in goal_rows(run)}
    assert found["denoise, eager"] == ("36.5", "yes")
    assert found["end to end, native, eager"] == ("20", "NO")
    assert found["retrieval, eager"] == ("0.02", "yes")  # 1.02 times native's time is 2 % more
    assert found["block near 240 s over one near 5 s"] == ("1.06", "NO")
    assert found["denoise, compiled"] == found["host memory at 240 s"] == ("not measured", "-")


@pytest.mark.parametrize("device", [[], [row("machine", "device", "CPU (smoke run)")]])
def test_a_run_on_a_cpu_or_on_no_known_device_meets_no_goal(tmp_path, device):
    run = read([write(tmp_path, *device, *FAST)])
    assert {measured for *_, measured, _ in goal_rows(run)} == {"not measured"}
    assert SMOKE_NOTE in markdown(run)
    assert SMOKE_NOTE in console(run)


def test_a_later_run_replaces_whole_steps(tmp_path):
    first = write(tmp_path / "a", H100, ended("vae", 1), row("vae", "decode", "FAILED"), ended("bench"), *FAST)
    second = write(tmp_path / "b", H100, ended("vae"), row("vae", "decode a block", 110.0, "ms"))
    run = read([first, second])
    assert run.steps["vae"].outcome == "succeeded"
    assert ("vae", "decode") not in run.values
    assert run.values["bench", "denoise fps: native"] == 36.5


def test_what_went_wrong_is_shown_before_the_rows(tmp_path):
    many = [row("kernels", f"row {i}", float(i), "ms") for i in range(400)]
    records = [H100, ended("kernels"), *many, ended("vae", 1), ended("long", -1), ended("host", 124)]
    folder = write(tmp_path, *records)
    (folder / "logs.txt").write_text("##### kernels\nfine\n##### vae\nTraceback\nRuntimeError: no such kernel\n")
    text = console(read([folder]), most=4000)
    assert len(text) <= 4000
    assert text.index("RuntimeError: no such kernel") < text.index("row 0")
    assert "not run: the budget was spent" in text
    assert "stopped at its time limit" in text
    assert text.endswith("the rest is in gpu.md")
    assert "| row 399 | 399 ms |" in markdown(read([folder]))


def test_every_goal_has_a_row_of_its_own():
    assert len({goal.row for goal in GOALS}) == len(GOALS)


def test_the_tables_of_the_bench_are_read_as_rows():
    text = "title\n┏━━━┳━━━┓\n┃   ┃ native ┃ rag ┃\n│ denoise fps │ 34.5 │ 1e+02 │\n│ peak GPU GiB │ - │ 20.1 │\n"
    assert tables(text) == [
        ("denoise fps", "native", "34.5"),
        ("denoise fps", "rag", "1e+02"),
        ("peak GPU GiB", "rag", "20.1"),
    ]
    assert number("1e+02") == (100.0, "")
    assert number("1.019 [1.010, 1.025]") == (1.019, "[1.010, 1.025]")
    assert number("torch") == ("torch", "")
