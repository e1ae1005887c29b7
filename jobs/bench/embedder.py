"""`longtake bench embedder`: times training steps of the retrieval embedder, for DeepSpeed, PyTorch and more workers.

One run makes two comparisons. First, in this process, DeepSpeed's engine and a plain PyTorch loop (same module, AdamW,
clipping) alternate on the same chunks. Then groups of one and of several workers alternate on whole trainings, run as
by `longtake train embedder`, with the same batch per step. A worker has one thread. Times are wall times.
"""

import csv
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor

from longtake.jobs.bench.apart import check_out
from longtake.jobs.bench.figures import Spread
from longtake.jobs.console import console_for
from longtake.jobs.embedder.train import EmbedderJob, find_corpus
from longtake.platform.corpus.reader import Corpus
from longtake.platform.machine.process import set_up_computing
from longtake.platform.models.embedder import fresh_embedder
from longtake.platform.settings import config as configs
from longtake.platform.store.training import TrainingFolder
from longtake.platform.workers.group import GroupSize, single_rank
from longtake.platform.workers.ray_cluster import LOCAL, Cluster, connect
from longtake.trainers.chunks import read_chunks
from longtake.trainers.embedder import EmbedderTraining, EmbedderWork, LossModule
from longtake.trainers.embedder_config import EmbedderConfig, plan_chunks

WARM = 5
ROUNDS = 3


def bench(file: Path, overrides: list[str], workers: int, out: Path | None) -> int:
    """Runs both comparisons over the config's `steps` and prints them. Returns 0."""
    if out is not None:
        check_out(out)
    job = configs.load(file, EmbedderJob, overrides)
    corpus, config = find_corpus(job), job.computed
    config.micro_batch(workers)
    console, readings = console_for(), list[tuple[str, int, float, float]]()
    set_up_computing()
    with tempfile.TemporaryDirectory() as folder:
        paired = in_turns(corpus, config, Path(folder))
        readings += [(name, step, seconds, 0.0) for name, all_ in paired.items() for step, seconds in enumerate(all_)]
        console.print(table_of_pair(paired, config))
        with connect(LOCAL) as cluster:
            for round_ in range(ROUNDS):
                for count in (1, workers):
                    rows = train_with(cluster, corpus, replace(config, name=f"w{count}-{round_}"), folder, count)
                    times = [(int(row["step"]), row["seconds"], row["waited_seconds"]) for row in rows[WARM:]]
                    readings += [(f"{count} workers", *reading) for reading in times]
                    middle = statistics.median(seconds for _, seconds, _ in times)
                    console.print(f"round {round_ + 1} of {ROUNDS}, {count} workers: {middle:.4f} s per step")
    console.print(table_of_groups(readings, config, workers))
    if out is not None:
        out.write_text(as_csv(readings))
        console.print(f"readings: {out}")
    return 0


def in_turns(corpus: Path, config: EmbedderConfig, folder: Path) -> dict[str, list[float]]:
    """Seconds of each step by name, without the first WARM steps."""
    source = Corpus.open(corpus)
    plan, _ = plan_chunks(config, source)
    times: dict[str, list[float]] = {"DeepSpeed": [], "PyTorch": []}
    training_folder = TrainingFolder(folder, config.name)
    with training_folder.lock():
        training = EmbedderTraining(config, source, training_folder, single_rank())
        variants: list[tuple[str, Callable[[list[Tensor]], object]]] = [
            ("DeepSpeed", lambda parts: training.advance(iter(parts))),
            ("PyTorch", plain_step(config, source)),
        ]
        for step in range(config.steps):
            chunks = read_chunks(source, plan.step_chunks(step), config.chunk_frames)
            parts = list(chunks.split(training.micro))
            for name, action in variants if step % 2 else variants[::-1]:
                started = time.perf_counter()
                action(parts)
                times[name].append(time.perf_counter() - started)
    return {name: seconds[WARM:] for name, seconds in times.items()}


def plain_step(config: EmbedderConfig, corpus: Corpus) -> Callable[[list[Tensor]], None]:
    """The same step without DeepSpeed."""
    module = LossModule(fresh_embedder(config.spec(corpus.latent), config.seed), config.loss)
    optimiser = torch.optim.AdamW(module.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)

    def step(parts: list[Tensor]) -> None:
        for chunks in parts:
            (module(chunks).total / len(parts)).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), config.gradient_clip)
        optimiser.step()
        optimiser.zero_grad()

    return step


def train_with(
    cluster: Cluster, corpus: Path, config: EmbedderConfig, output: str, workers: int
) -> list[dict[str, float]]:
    """Trains with this number of workers; returns the rows of the steps."""
    folder = TrainingFolder(output, config.name)
    with folder.lock():
        work = EmbedderWork(replace(config, validate_every=config.steps, checkpoint_every=config.steps), corpus, folder)
        cluster.run_group(work, GroupSize(workers, 0.0, 0), folder.scratch, lambda: None)
    return folder.steps()


def table_of_pair(times: dict[str, list[float]], config: EmbedderConfig) -> Table:
    title = f"One process, alternating steps: {config.batch_chunks} chunks of {config.chunk_frames} frames, float32"
    table = Table("", "s per step (middle half)", "chunks/s", "ratio to PyTorch (middle half)", title=title)
    for name, seconds in times.items():
        ratio = Spread.of([a / b for a, b in zip(seconds, times["PyTorch"], strict=True)])
        table.add_row(
            name, str(Spread.of(seconds)), f"{config.batch_chunks / statistics.median(seconds):.1f}", str(ratio)
        )
    return table


def table_of_groups(readings: list[tuple[str, int, float, float]], config: EmbedderConfig, workers: int) -> Table:
    table = Table("", "s per step (middle half)", "chunks/s", "speedup", "waiting for data", title="Worker groups")
    by_name = {f"{n} workers": [r for r in readings if r[0] == f"{n} workers"] for n in dict.fromkeys((1, workers))}
    baseline = statistics.median(seconds for _, _, seconds, _ in by_name["1 workers"])
    for name, rows in by_name.items():
        seconds = [row[2] for row in rows]
        middle = statistics.median(seconds)
        waiting = sum(row[3] for row in rows) / sum(seconds)
        cells = (
            str(Spread.of(seconds)),
            f"{config.batch_chunks / middle:.1f}",
            f"{baseline / middle:.2f}",
            f"{waiting:.2%}",
        )
        table.add_row(name, *cells)
    return table


def as_csv(readings: list[tuple[str, int, float, float]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("what", "step", "seconds", "waited_seconds"))
    writer.writerows((name, step, f"{seconds:.6f}", f"{waited:.6f}") for name, step, seconds, waited in readings)
    return text.getvalue()
