"""Advised commands are shown as the process was called."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from longtake.jobs.called import WORDS, as_called
from longtake.jobs.cli import COMMANDS, GROUPS
from longtake.jobs.console import CommandConsole, new_table, say

PROGRAM = Path(sys.executable).with_name("longtake")


def test_every_command_is_known() -> None:
    assert sorted(WORDS) == sorted([*COMMANDS, *GROUPS])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("run longtake weights pull vbench", "run bin/longtake weights pull vbench"),
        ("`longtake plan` and longtake doctor", "`bin/longtake plan` and bin/longtake doctor"),
        ("wrong usage; see longtake --help", "wrong usage; see bin/longtake --help"),
        ("install the same version of longtake on every node", None),
        ("/home/me/longtake run", None),
        ("longtake-extra plan; longtake planned; longtake: no", None),
        ("bin/longtake plan demo", None),
        ("mlflow ui --backend-store-uri x", None),
    ],
)
def test_only_commands_get_the_path(text: str, shown: str | None) -> None:
    assert as_called(text, "bin/longtake") == (text if shown is None else shown)
    assert as_called(text, "longtake") == text


def test_a_path_with_spaces_is_quoted_and_programs_beside_it_get_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my env"
    folder.mkdir()
    (folder / "mlflow").touch()
    found = as_called("longtake plan; mlflow ui --port 5; pip install ray", str(folder / "longtake"))
    assert found == f"'{folder}/longtake' plan; '{folder}/mlflow' ui --port 5; pip install ray"


def test_this_process_was_not_called_as_longtake(capsys: pytest.CaptureFixture[str]) -> None:
    console = CommandConsole(width=80)
    table = new_table("see longtake doctor")
    table.add_column("run longtake plan demo")
    say(console, "longtake weights list")
    console.print(table)
    out = capsys.readouterr().out
    assert "see longtake doctor" in out
    assert out.startswith("longtake weights list\n")


@pytest.mark.slow
def test_messages_show_the_command_as_it_was_called(tmp_path: Path) -> None:
    def said(program: str, path: str, *words: str) -> str:
        env = os.environ | {"PATH": path, "LONGTAKE_WEIGHTS": str(tmp_path / "none")}
        line = shlex.join([program, *words])
        done = subprocess.run(["/bin/bash", "-c", line], cwd=PROGRAM.parent, env=env, capture_output=True, text=True)
        return " ".join((done.stdout + done.stderr).split())

    advice = "give the output folder of `{} run`"
    missing = ["leaderboard", str(tmp_path)]
    assert advice.format("./longtake") in said("./longtake", "/usr/bin:/bin", *missing)
    assert advice.format("longtake") in said("longtake", f"{PROGRAM.parent}:/usr/bin:/bin", *missing)
    assert advice.format("longtake") in said("./longtake", f"{PROGRAM.parent}:/usr/bin:/bin", *missing)
    new = said("./longtake", "/usr/bin:/bin", "new", "sweep", "mine", "--dir", str(tmp_path))
    assert f"next: ./longtake plan {tmp_path}/mine.yaml" in new
    table = said("./longtake", "/usr/bin:/bin", "list", "sweeps")
    assert "./longtake doctor says what to install or pull" in table
