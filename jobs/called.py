"""Commands in messages as the user must type them: `.venv/bin/longtake plan demo` where longtake is not on the path.

Code that advises a command writes `longtake COMMAND`, wherever it runs; the console and the errors of this process show
it as this process was called. Commands of other programs of its environment, such as mlflow, get the same folder.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "longtake"
WORDS = (
    *("bench", "certify", "clip", "compare", "corpus", "dashboard", "doctor", "eval", "explain", "leaderboard", "list"),
    *("methods", "new", "plan", "remake", "rename", "run", "schema", "traces", "train", "verify", "weights"),
)
"""All commands; tests/jobs/test_called.py compares them with those of cli.py."""
BESIDE = {"mlflow": "ui", "pip": "install"}
"""Other programs in the environment, each with the command that messages advise."""
ADVISED = re.compile(
    rf"(?<![\w./-])(?:(?P<own>{PROGRAM}) (?=(?:{'|'.join(WORDS)}|--help)\b)"
    rf"|(?P<other>{'|'.join(BESIDE)}) (?=(?:{'|'.join(BESIDE.values())})\b))"
)


def as_called(text: str, program: str | None = None) -> str:
    """The text with the program in front of each command that it advises. `program`: how this process was called."""
    program = called() if program is None else program
    if program == PROGRAM:
        return text
    folder = Path(program).parent

    def spelled(found: re.Match[str]) -> str:
        other = found["other"]
        if other and not (folder / other).is_file():
            return found[0]
        return f"{shlex.quote(str(folder / other) if other else program)} "

    return ADVISED.sub(spelled, text)


def called() -> str:
    """The path that this process was started by; 'longtake' if that is what a shell finds by name, and in a process
    that another program started."""
    path = sys.argv[0]
    if Path(path).name != PROGRAM:
        return PROGRAM
    found = shutil.which(PROGRAM)
    return PROGRAM if found and Path(found).resolve() == Path(path).resolve() else path
