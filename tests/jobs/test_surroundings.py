"""Consoles that cannot show every character, arguments that are not UTF-8, and warnings that are errors."""

import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from longtake.jobs import loading, surroundings
from longtake.jobs.console import console_for, new_table, say

COMMAND = [sys.executable, "-c", "from longtake.jobs.cli import main; main()"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_every_text_can_be_printed(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    surroundings.prepare()
    console, text = console_for(), "é \u2014 \u2028 \U0001f600 \udce9"
    say(console, text)
    table = new_table(text.replace("\u2028", ""))
    table.add_column("ü")
    table.add_row("ß\udce9")
    console.print(table)
    print(text)
    sys.stdout.flush()
    assert raw.getvalue().decode(encoding).count("\\udce9") == 4


@pytest.mark.parametrize(
    ("given", "kept"),
    [("error", ""), ("err::DeprecationWarning,ignore", "ignore"), ("e", ""), ("default", "default"), ("", "")],
)
def test_warnings_are_shown_and_never_raised(given: str, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "warnoptions", [option for option in given.split(",") if option])
    monkeypatch.setenv("PYTHONWARNINGS", given)
    with warnings.catch_warnings(record=True) as shown:
        if given.startswith("e"):
            warnings.simplefilter("error")
        surroundings.never_raise_warnings()
        warnings.warn("old", DeprecationWarning)
    assert os.environ["PYTHONWARNINGS"] == kept
    assert sys.warnoptions == [option for option in kept.split(",") if option]
    assert len(shown) == 1 or not given.startswith("e")


def test_a_command_under_bad_surroundings_is_one_line(tmp_path: Path) -> None:
    surrounding = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONWARNINGS": "error"}
    words = [b"plan", os.fsencode(tmp_path) + b"/b\xe9.yaml", "ä=ö".encode()]
    done = subprocess.run([*COMMAND, *words], capture_output=True, env=os.environ | surrounding)
    assert (done.returncode, done.stdout) == (2, b"")
    said = done.stderr.removeprefix(f"{loading.LINE}\n".encode())  # a busy machine imports for so long
    assert said.startswith(f"longtake: {tmp_path}/b\\xe9.yaml: no such file".encode())
    assert said.count(b"\n") == 1
