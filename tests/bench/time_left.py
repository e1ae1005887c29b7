"""How far the time left of a run was off, at several moments.

    python -m tests.bench.time_left SWEEP.yaml [key=value ...]

Runs the sweep in a process of its own and reads its progress.json twice a second. Prints a row for each change of the
number of scored takes: seconds since the start, takes made and scored, the range shown, and the seconds that it really
took from there to the end of the process.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from longtake.jobs.sweep.grid import expand
from longtake.platform.store.sweep import SweepStore

EVERY_SECONDS = 0.5


def watch(words: list[str]) -> tuple[list[tuple[float, dict[str, Any]]], float]:
    """(seconds since the start, progress) after every change, and the seconds of the whole run."""
    grid = expand(Path(words[0]), words[1:])
    store = SweepStore(Path(grid.sweep.output), grid.sweep.name)
    started, seen = time.monotonic(), list[tuple[float, dict[str, Any]]]()
    command = [str(Path(sys.executable).with_name("longtake")), "run", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(EVERY_SECONDS)
        progress = store.progress()
        if progress and (not seen or (progress["made"], progress["scored"]) != counts(seen[-1][1])):
            seen.append((time.monotonic() - started, progress))
    return seen, time.monotonic() - started


def counts(progress: dict[str, Any]) -> tuple[int, int]:
    return progress["made"], progress["scored"]


def main(words: list[str]) -> int:
    seen, total = watch(words)
    print("seconds,made,scored,low,high,seconds_left_in_fact")
    for at, progress in seen:
        made, scored = counts(progress)
        low, high = progress["seconds_left_range"] or ("", "")
        shown = [f"{end:.0f}" if end != "" else "estimating" for end in (low, high)]
        print(f"{at:.0f},{made},{scored},{','.join(shown)},{total - at:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
