"""Runs `longtake bench sampler` as a user would, and keeps the numbers of its tables as rows.

python -m tests.gpu.bench --step bench --out FILE.csv
python -m tests.gpu.bench --step bench-compiled --out FILE.csv --compile      (further options go to the command)
"""

import argparse
import contextlib
import io
import re
import sys
from typing import TextIO

from tests.gpu.report import Report
from tests.gpu.setting import DEVICE, SMOKE, choose_compiler, sized
from tests.gpu.stand_in import SHRINK

choose_compiler()  # at import, because the command's child processes import this file too

SECONDS = sized(12, 2)
CELL = re.compile("[│┃|]")


class Both(io.TextIOBase):
    """Writes to a stream and keeps what was written."""

    def __init__(self, stream: TextIO):
        self.stream, self.kept = stream, io.StringIO()

    def write(self, text: str) -> int:
        self.kept.write(text)
        return self.stream.write(text)

    def flush(self) -> None:
        self.stream.flush()


def command(out: str, more: list[str]) -> list[str]:
    smoke = ["--shrink", str(SHRINK), *(["--no-end-to-end"] if "--compile" in more else [])] if SMOKE else []
    asked = ["--seconds", str(SECONDS), "--methods", "native,rag", "--device", DEVICE.type, "--out", out]
    return ["bench", "sampler", *asked, *smoke, *more]


def tables(text: str) -> list[tuple[str, str, str]]:
    """(row, column, cell) of every table in rich's output, in order."""
    cells: list[tuple[str, str, str]] = []
    columns: list[str] = []
    for line in text.splitlines():
        if not CELL.match(line.strip()):
            continue
        first, *others = [part.strip() for part in CELL.split(line.strip())[1:-1]]
        if "┃" in line:
            columns = others
        elif first:
            name = first.partition(" [")[0]
            cells += [(name, column, cell) for column, cell in zip(columns, others, strict=True) if cell != "-"]
    return cells


def number(cell: str) -> tuple[float | str, str]:
    """The number at the start of a cell, and the rest: '1.02 [1.01, 1.03]', '63.1%'."""
    found = re.match(r"(-?\d[\d.]*(?:e[+-]?\d+)?)(.*)", cell)
    return (float(found[1]), found[2].strip()) if found else (cell, "")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--step", required=True)
    parser.add_argument("--out", required=True)
    known, more = parser.parse_known_args()
    report = Report(known.step)
    from longtake.jobs.cli import execute

    written = Both(sys.stdout)
    with contextlib.redirect_stdout(written):
        code = execute(command(known.out, more))
    for name, column, cell in tables(written.kept.getvalue()):
        value, note = number(cell)
        report.row(f"{name}: {column}", value, "", note)
    return code or report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
