"""`longtake bench engine`: CPU time per block of every context method, compared with the machine's matrix-product rate.

The limit of a block is its FLOPs divided by the rate of a large float32 product on this core, measured in the same run.
Weights are random; one thread; CPU time, which depends less on other load. Progress is printed, and every block
written, as the run goes.
"""

import csv
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from longtake.jobs.bench.apart import check_out
from longtake.jobs.bench.engine_cases import (
    REFERENCE,
    SMALL,
    SPEC,
    WINDOW,
    Case,
    cases_of,
    random_network,
    without_camera,
)
from longtake.jobs.bench.engine_clock import Round, Timing, take_turns
from longtake.jobs.bench.engine_memory import Memory, memory_of
from longtake.jobs.console import LiveDisplay, console_for, new_table, print_table, say
from longtake.platform.machine.process import set_up_computing
from longtake.platform.models.spec import DiTSpec

MEMORY_FRAMES = 120
"""The most latent frames for which memory is measured."""
COLUMNS = ("method", "block", "cpu_seconds", "attended_frames", "gemm_flops_per_second")
HEADINGS = (
    "method",
    "attended\nframes",
    "CPU-s\nper block",
    "ratio\nto native",
    "of the\nlimit",
    "late /\nearly",
    "of the\nratio",
    "RSS KiB\nper frame",
    "bank KiB\nper frame",
    "extra state\nMiB",
)
NOTES = (
    "of the limit: of the rate of a large matrix product, by the FLOPs for the frames that the method attends",
    "late / early: CPU time in the last quarter of the blocks over that in the first; of the ratio: the same for the "
    "ratio to native, block by block, which cancels other work on the machine",
    "extra state: what the rollout holds beside the bank, more than native does",
)


def engine(frames: int = 240, methods: list[str] | None = None, small: bool = False, out: Path | None = None) -> int:
    """Prints the figures of each method and writes every block to `out`; returns 0."""
    check_out(out)
    cases, console, spec = cases_of(methods), console_for(), SMALL if small else SPEC
    set_up_computing()
    if methods is None:
        for name in without_camera():
            say(console, f"not timed: {name} needs a known camera, and random weights have none")
    with Progress(console) as progress:
        timing = timed(cases, spec, frames, out, progress)
        memory = {}
        for case in cases:
            progress.update(f"memory: {case.label}, in its own process")
            memory[case.label] = memory_of(case, min(frames, MEMORY_FRAMES), spec)
    print_table(console, report(cases, timing, memory, frames))
    for note in NOTES:
        say(console, note)
    return 0


def timed(cases: list[Case], spec: DiTSpec, frames: int, out: Path | None, progress: "Progress") -> Timing:
    """Times all blocks. What is done is in the file if the run is stopped."""
    rounds = list[Round]()
    with ExitStack() as stack:
        file = None if out is None else stack.enter_context(out.open("w", newline=""))
        writer = None if file is None else csv.writer(file, lineterminator="\n")
        if writer is not None:
            writer.writerow(COLUMNS)
        for index, one in enumerate(take_turns(cases, random_network(spec), frames)):
            rounds.append(one)
            if file is not None and writer is not None:
                writer.writerows(csv_rows(index, one))
                file.flush()
            spent = ", ".join(f"{label} {seconds:.3f}" for label, seconds in one.seconds.items())
            progress.update(f"block {index + 1}/{frames // WINDOW.block}, CPU-s: {spent}")
    return Timing(spec, rounds)


def csv_rows(index: int, one: Round) -> list[tuple[Any, ...]]:
    """A row per method."""
    return [
        (label, index, f"{seconds:.6f}", f"{one.attended[label]:.6g}", f"{one.gemm:.0f}")
        for label, seconds in one.seconds.items()
    ]


class Progress(LiveDisplay):
    """Where the run is: live on a terminal, elsewhere a line now and then."""

    EVERY_SECONDS = 20.0

    def __init__(self, console: Console):
        super().__init__(console)
        self.started = time.monotonic()
        self.shown_at = 0.0

    def update(self, what: str) -> None:
        now = time.monotonic()
        line = f"{(now - self.started) / 60:.1f} min: {what}"
        if self.live is not None:
            self.live.update(Text(line))
        elif now - self.shown_at >= self.EVERY_SECONDS:
            self.shown_at = now
            self.say(line)


def report(cases: list[Case], timing: Timing, memory: dict[str, Memory], frames: int) -> Table:
    """A row per case."""
    flops, rate, spec = timing.flops(REFERENCE), timing.rate, timing.spec
    table = new_table(
        f"{frames} frames; dim {spec.dim}, {spec.layers} layers, {spec.frame_tokens} tokens per frame; "
        f"native {flops / 1e9:.4g} GFLOP per block; GEMM {rate / 1e9:.0f} GFLOP/s; torch {torch.__version__}"
    )
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == HEADINGS[0] else "right")
    for case in cases:
        label, held = case.label, memory[case.label]
        growth = f"{timing.growth(label):.3f}"
        table.add_row(
            label,
            f"{timing.attended(label):.1f}",
            f"{timing.block_seconds(label):.4f}",
            f"{timing.ratio(label):.3f}",
            f"{timing.of_limit(label):.0%}",
            f"{growth} by design" if case.grows else growth,
            f"{timing.growth_beside_reference(label):.3f}",
            f"{held.resident_per_frame / 1024:.0f}",
            f"{held.bank_per_frame / 1024:.0f}",
            f"{(held.state - memory[REFERENCE].state) / 2**20:+.1f}",
        )
    return table
