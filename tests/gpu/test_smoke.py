"""Every step of `make gpu` runs on a CPU at tiny sizes, and the report says that it measured nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.goals import GOALS
from tests.gpu.summary import Run, read

ROOT = Path(__file__).resolve().parents[2]
ROWS = {
    "machine": ["date", "commit", "code", "python, torch", "device"],
    "kernels": ["self-attention, as the code does", "linear ffn up", "rotation, plain"],
    "blocks": ["native, eager: block", "native, compiled: device busy", "rag, eager: block", "rag, compiled: block"],
    "bench": [
        "denoise, rag: frames/s",
        "decode: frames/s",
        "encode: frames/s",
        "peak RSS GiB: rag",
    ],
    "bench-compiled": ["denoise fps: native", "denoise fps: rag"],
    "long": ["block near 5 s", "late over early", "given block", "bank", "host memory"],
    "tests": ["passed", "failed", "skipped"],
    "vae": ["decode a block", "decode: device busy", "decode, diffusers' own", "decode, contiguous"],
    "host": ["pin a frame of the bank, huge pages", "frame to the host, pinned", "x264 of noise", "noise of a block"],
    "embedder": ["step, float32, ZeRO 0, gloo", "step, bf16, ZeRO 1, gloo"],
    "vbench": ["in batches", "a frame at a time", "scores: largest difference"],
    "fp8": ["native, fp8"],
}


def run_steps(**settings: str) -> subprocess.CompletedProcess:
    env = {name: value for name, value in os.environ.items() if name not in ("SMOKE", "STEPS", "BUDGET", "PACE")}
    env |= {"PYTHON": sys.executable, **settings}
    command = ["bash", str(ROOT / "tests" / "gpu" / "run.sh")]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Run]:
    """The output of a smoke run of all steps, its folder and its rows. PACE: other tests may use the machine too."""
    out = tmp_path_factory.mktemp("gpu")
    done = run_steps(SMOKE="1", OUT=str(out), BUDGET="1500", PACE="4")
    return done.stdout + done.stderr, out, read([out])


@pytest.mark.parametrize("step", ROWS)
def test_a_step_ends_well_and_has_its_rows(smoke, step):
    printed, out, run = smoke
    assert step in run.steps, printed
    names = {row["name"]: row["value"] for row in run.steps[step].rows}
    assert run.steps[step].exit == 0, (out / "logs.txt").read_text()[-4000:]
    assert set(ROWS[step]) <= names.keys()
    assert "FAILED" not in names.values()


def test_the_steps_are_these(smoke):
    assert list(smoke[2].steps) == list(ROWS)


def test_the_tests_for_a_gpu_are_found_and_skip(smoke):
    counts = {row["name"]: row["value"] for row in smoke[2].steps["tests"].rows}
    assert counts["skipped"] >= 20
    assert counts["passed"] == counts["failed"] == 0


def test_goals_of_the_bench_and_of_the_long_video_have_their_rows(smoke):
    """In a smoke run, the compiled bench makes no whole videos."""
    missing = [goal.what for goal in GOALS if goal.row not in smoke[2].values]
    assert missing == ["end to end, native, compiled", "end to end, rag, compiled"]


def test_a_smoke_run_says_so_and_meets_no_goal(smoke):
    printed, out, _ = smoke
    report = (out / "gpu.md").read_text()
    for text in (printed, report):
        assert "SMOKE RUN ON A CPU" in text
        assert " yes" not in text.partition("oals")[2].partition("teps")[0]
    assert len(printed) < 12_000
    assert {path.name for path in out.iterdir()} <= {
        *("gpu.md", "rows.jsonl", "logs.txt", "bench.csv", "bench-compiled.csv")
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"STEPS": "kernel"}, "STEPS: no step kernel; there are machine kernels"),
        ({"PYTHON": "/no/python"}, "/no/python has no torch; name another"),
        ({"CUDA_VISIBLE_DEVICES": ""}, "no CUDA device for torch"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path, settings, reason):
    done = run_steps(OUT=str(tmp_path), **settings)
    assert done.returncode == 2
    assert done.stdout == ""
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_budget_that_is_spent_leaves_steps_out(tmp_path):
    done = run_steps(SMOKE="1", OUT=str(tmp_path), STEPS="machine host", BUDGET="0")
    assert done.returncode == 1
    assert "machine: not run, the budget of 0 s is spent" in done.stdout
    assert {step.exit for step in read([tmp_path]).steps.values()} == {-1}


def test_pack_names_the_python_that_it_needs():
    pack = [str(ROOT / "tests" / "gpu" / "pack")]
    done = subprocess.run(pack, env={**os.environ, "PY": "/no/python"}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("pack: /no/python does not run; name a Python 3.12")
