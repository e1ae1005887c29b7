"""Paths that cannot be: each command answers with one line, never with an internal error."""

from pathlib import Path

import pytest

from longtake.jobs import surroundings
from longtake.jobs.cli import execute
from tests.jobs import tiny

LONG = "a" * 300  # file systems allow 255 bytes a name
COMMANDS = [
    "run PATH", "plan PATH", "corpus PATH", "corpus PATH --verify", "eval PATH", "eval . --prompts PATH",
    "leaderboard PATH", "dashboard PATH", "traces PATH", "compare PATH", "doctor --output PATH",
    "new sweep x --dir PATH", "certify PATH", "verify PATH", "bench embedder PATH", "train pocket PATH",
    "train embedder PATH", "train eval-embedder --prompts PATH", "weights pull vae-wan21 --from PATH",
    "plan SWEEP prompts={file:PATH}", "plan SWEEP output=PATH/x", "plan SWEEP workers.bank.disk=PATH",
    "plan SWEEP methods=[{rag:{descriptor:PATH}}]", "plan SWEEP plugins=[PATH]",
]  # fmt: skip


@pytest.mark.parametrize(
    "path", [LONG, f"{LONG}/b", "/dev/null/a", "\udce9"], ids=["long", "in-long", "in-file", "not-utf8"]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_path_that_cannot_be_is_one_line(
    command: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    surroundings.prepare()
    monkeypatch.chdir(tmp_path)
    sweep = str(tiny.write_sweep(tmp_path))
    words = [word.replace("PATH", path).replace("SWEEP", sweep).replace(":", ": ") for word in command.split()]
    code = execute(words)
    told = capsys.readouterr()
    assert code in (0, 1, 2, 5), told
    assert "internal error" not in told.err
    assert "Traceback" not in told.err
    assert told.err.count("\n") == (code not in (0, 1)), told.err


def test_a_null_character_is_refused_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = tmp_path / "s.yaml"
    sweep.write_text(tiny.SWEEP.replace("OUTPUT", '"a\\0b"'))
    assert execute(["plan", str(sweep)]) == 2
    assert f"{sweep}: line 8: a null character is not read" in capsys.readouterr().err
