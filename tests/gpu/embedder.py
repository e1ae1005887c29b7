"""A training step of the retrieval embedder on one worker: float32, and bf16 with ZeRO 1, with NCCL on a GPU."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tests.gpu.report import Report
from tests.gpu.setting import DEVICE, on_gpu, sized
from tests.trainers.small_corpus import make_corpus

if TYPE_CHECKING:
    from longtake.platform.corpus.reader import Corpus
    from longtake.trainers.embedder import EmbedderTraining
    from longtake.trainers.embedder_config import EmbedderConfig

LATENT = sized((16, 60, 104), (16, 8, 8))
ENTRIES, FRAMES, BATCH = sized((72, 8, 64), (12, 8, 8))
STEPS, WARM = sized((12, 4), (4, 1))
BACKEND = sized("nccl", "gloo")


def config_of(precision: str, zero_stage: int) -> EmbedderConfig:
    from longtake.trainers.embedder_config import EmbedderConfig

    sizes = {"steps": STEPS, "batch_chunks": BATCH, "validate_every": STEPS, "checkpoint_every": STEPS}
    return EmbedderConfig(f"step-{precision}", "small", precision=precision, zero_stage=zero_stage, **sizes)


def steps(training: EmbedderTraining) -> tuple[list[float], float]:
    """Milliseconds of each step, and the loss of the last. Every step has the same chunks."""
    chunks = training.read(training.train_plan.step_chunks(0))
    spent, total = [], 0.0
    for _ in range(STEPS):
        started = time.perf_counter()
        losses, _ = training.reduce_losses(training.advance(iter(chunks.split(training.micro))))
        total = losses["total"]  # read on the host, so the step is done
        spent.append((time.perf_counter() - started) * 1e3)
    return spent, total


def train(report: Report, corpus: Corpus, folder: Path, precision: str, zero_stage: int) -> None:
    """A short complete training: steps, a validation, a checkpoint."""
    from longtake.platform.store.training import TrainingFolder
    from longtake.platform.workers.group import single_rank
    from longtake.trainers.embedder import EmbedderTraining

    config = config_of(precision, zero_stage)
    where, name = TrainingFolder(folder, config.name), f"{precision}, ZeRO {zero_stage}, {BACKEND}"
    with where.lock():
        training = EmbedderTraining(config, corpus, where, single_rank())
        spent, loss = steps(training)
        training.step = STEPS
        training.validate()
        training.save()
    step = statistics.median(spent[WARM:])
    report.row(f"step, {name}", step, "ms", f"{BATCH / step * 1e3:.4g} chunks/s of {FRAMES} frames; loss {loss:.4f}")


def main() -> int:
    from longtake.platform.corpus.reader import Corpus

    report = Report("embedder")
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus.open(make_corpus(Path(folder), ENTRIES, FRAMES, LATENT))
        for precision, zero_stage in (("float32", 0), ("bf16", 1)):
            with report.guard(f"step, {precision}"):
                train(report, corpus, Path(folder), precision, zero_stage)
    if on_gpu():
        report.row("peak device memory", torch.cuda.max_memory_allocated(DEVICE) / 2**30, "GiB")
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
