"""The command line: exit codes, one line per mistake, and nothing heavy before it is needed."""

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from longtake.jobs.cli import execute
from longtake.jobs.sweep.spec import SweepConfig
from longtake.platform.errors import EXIT_CODES, ConfigError, LongtakeError
from longtake.platform.machine.free_memory import free_bytes
from longtake.platform.store.sweep import SweepStore
from longtake.platform.video.writing import VideoWriter

from . import tiny


def one_line(capfd: pytest.CaptureFixture[str]) -> str:
    err = capfd.readouterr().err
    assert err.startswith("longtake: ")
    assert err.count("\n") == 1
    return err


def test_help_lists_the_commands(capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["--help"]) == 0
    out = capfd.readouterr().out
    assert all(word in out for word in ("run", "plan", "eval", "leaderboard", "verify", "bench", "train"))


def test_no_arguments_show_the_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert execute([]) == 2
    assert "leaderboard" in capfd.readouterr().out


@pytest.mark.parametrize("words", [["-h"], ["run", "-h"], ["weights", "-h"], ["weights", "list", "-h"]])
def test_h_is_help(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(words) == 0
    assert capfd.readouterr().out.startswith("Usage: ")


def test_the_exit_codes_are_one_table_in_the_help_of_run_and_in_the_docs(capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["run", "--help"]) == 0
    table = capfd.readouterr().out.partition("Exit codes:\n")[2]
    rows = dict(re.findall(r"^ +(\d+) +(.+)$", table, re.MULTILINE))
    assert {int(code): meaning for code, meaning in rows.items()} == EXIT_CODES
    assert max(map(len, table.splitlines())) <= 80
    page = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()
    assert dict(re.findall(r"^\| (\d+) \| (.+) \|$", page, re.MULTILINE)) == rows
    classes = [LongtakeError]
    for one in classes:
        classes += one.__subclasses__()
        assert one.exit_code in EXIT_CODES


def test_a_cluster_that_is_not_there_yet_asks_for_the_same_command_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        assert execute(["run", str(tiny.write_sweep(tmp_path)), f"workers.cluster='{address}'"]) == 75
    assert f"workers.cluster: nothing answers at '{address}'" in capfd.readouterr().err


def test_the_version_is_that_of_the_package(capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["--version"]) == 0
    assert capfd.readouterr().out == f"longtake {version('longtake')}\n"


def test_the_help_of_run_names_every_key_and_where_they_are_explained(capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["run", "--help"]) == 0
    text = " ".join(capfd.readouterr().out.split())
    (keys,) = re.findall(r"Keys of a sweep file: ([^.]+)\.", text)
    assert keys.split(", ") == [field.name for field in fields(SweepConfig)]
    assert "longtake schema sweep" in text


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("leader", "leaderboard"),
        ("plan de", "demo"),
        ("train pocket pocket-m", "pocket-mem"),
        ("list back", "backbones"),
    ],
)
def test_a_shell_completes_commands_and_names(typed: str, expected: str, tmp_path: Path) -> None:
    """As the script of --install-completion asks: the words so far, and the position of the one to complete."""
    words = f"longtake {typed}"
    asked = {"_LONGTAKE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    code = "import sys; sys.argv = ['longtake']; from longtake.jobs.cli import main; main()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | asked, cwd=tmp_path)
    assert expected in done.stdout.splitlines()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from longtake.jobs.cli import execute; execute(['--help']); "
        "print([m for m in ('torch', 'ray', 'mlflow', 'pandas', 'cv2', 'av', 'numpy', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("words", [["runn"], ["run"], ["plan", "--nope", "x"], ["eval", "--suite"]])
def test_wrong_usage_is_one_line_and_2(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(words) == 2
    assert "longtake --help" in one_line(capfd)


def test_mistakes_in_files_are_one_line_and_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["run", str(tmp_path / "none.yaml")],
        ["run", str(tiny.write_sweep(tmp_path)), "bakbones=[tiny]"],
        ["plan", str(tiny.write_sweep(tmp_path)), "prompts={file: gone.txt}"],
        ["eval", str(tmp_path / "none")],
        ["eval", str(tmp_path), "--suite", "classica"],
        ["leaderboard", str(tmp_path)],
        ["verify", str(tmp_path / "none")],
    ):
        assert execute(words) == 2
        assert str(tmp_path) in one_line(capfd) or words[0] == "eval"


def test_an_output_that_cannot_be_written_is_5(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert execute(["run", str(tiny.write_sweep(tmp_path)), f"output={tmp_path / 'file' / 'runs'}"]) == 5
    assert "another output folder" in one_line(capfd)


def test_a_sweep_in_use_is_4_and_names_the_holder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with SweepStore(tmp_path / "runs", "small").lock():
        assert execute(["run", str(tiny.write_sweep(tmp_path))]) == 4
    assert f"process {os.getpid()}" in one_line(capfd)


def test_a_plan_shows_the_grid_and_its_cost_and_writes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert execute(["plan", str(tiny.write_sweep(tmp_path)), "lengths_s=[3, 7]"]) == 0
    out = capfd.readouterr().out
    assert "= 8 takes" in out
    assert "rounded up to 7.5 s" in out
    assert "of one CPU core" in out
    # 2 takes of rag together, 18 of their 30 latent frames evicted: 2 x 1 layer x 8 tokens x 32 numbers x 4 bytes each
    assert "bank of a sampler: up to 72.0 KiB of host" in out
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_plan_and_a_run_say_what_memory_banks_may_take(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With `inline` there is one sampler, with half of the free memory, which may change in the meantime."""
    words = [str(tiny.write_sweep(tmp_path)), "lengths_s=[7]", "workers.cluster=inline"]
    expected = free_bytes() / 2 / 2**30
    for command in ("plan", "run"):
        assert execute([command, *words]) == 0
        (said,) = re.findall(r"of host \(host_gib: ([\d.]+), half of the free memory\)", capfd.readouterr().out)
        assert float(said) == pytest.approx(expected, rel=0.2)
    assert execute(["plan", *words, "workers.bank.host_gib=3"]) == 0
    assert "host_gib" not in capfd.readouterr().out


def test_eval_scores_a_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with VideoWriter(tmp_path / "a.mp4", width=64, height=64) as video:
        video.write(np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3), np.uint8))
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    out = tmp_path / "scores.json"
    assert execute(["eval", str(tmp_path), "--suite", "classical", "--out", str(out)]) == 3
    report = json.loads(out.read_text())
    assert set(report["videos"]) == {"a.mp4", "bad.mp4"}
    assert report["videos"]["bad.mp4"]["errors"]
    assert "bad.mp4" in capfd.readouterr().out


def test_an_extra_that_is_not_installed_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As in an install without the extra: the import fails (None in sys.modules is Python's own way to say so)."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setenv("LONGTAKE_WEIGHTS", str(tmp_path))
    assert execute(["weights", "pull", "wan-vae"]) == 2
    assert "huggingface_hub is not installed; run pip install '.[wan]'" in one_line(capfd)


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        execute(["--debug", "run", str(tmp_path / "none.yaml")])
