"""The worker of a retrieval embedder training with DeepSpeed (LongLive-RAG 2026, latent autoencoder).

The only importer of DeepSpeed. A step depends on (state, seed, step) only, so a resumed training repeats the losses of
an uninterrupted one. Workers exchange data through their process group. They report through the training's folder: one
row per step and per validation, checkpoints, and the best embedder so far. Knows no Ray, MLflow or terminal.

Shapes: B chunks, S frames per chunk, C channels, H x W latent size.
"""

import functools
import gc
import math
import os
import socket
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from longtake.platform.corpus.reader import Corpus
from longtake.platform.errors import ConfigError, LongtakeError
from longtake.platform.machine.process import rss_bytes, set_up_computing
from longtake.platform.models.embedder import LatentAutoencoder, fresh_embedder, save_embedder
from longtake.platform.store import durable
from longtake.platform.store.training import TrainingFolder
from longtake.platform.workers.group import RankContext, member_device
from longtake.trainers.chunks import ChunkIndex, Prefetch, read_chunks
from longtake.trainers.embedder_config import EmbedderConfig, plan_chunks
from longtake.trainers.losses import LossConfig, LossParts, embedder_loss

NEVER = 10**9


class LossModule(nn.Module):
    """The module that the engine wraps: maps chunks [B, S, C, H, W] to the parts of their loss."""

    def __init__(self, embedder: LatentAutoencoder, config: LossConfig):
        super().__init__()
        self.embedder, self.config = embedder, config

    def forward(self, chunks: Tensor) -> LossParts:
        return embedder_loss(self.embedder, chunks, self.config)


def engine_config(config: EmbedderConfig, workers: int) -> dict[str, Any]:
    """DeepSpeed's config. Uses torch's fused AdamW, because DeepSpeed's optimizers need a compiler on the worker."""
    return {
        "train_batch_size": config.batch_chunks,
        "train_micro_batch_size_per_gpu": config.micro_batch(workers),
        "gradient_accumulation_steps": config.accumulation,
        "gradient_clipping": config.gradient_clip,
        "optimizer": {
            "type": "AdamW",
            "params": {"lr": config.lr, "weight_decay": config.weight_decay, "torch_adam": True, "fused": True},
        },
        "zero_optimization": {"stage": config.zero_stage},
        "bf16": {"enabled": config.precision == "bf16"},
        "fp16": {"enabled": config.precision == "fp16"},
        "steps_per_print": NEVER,
    }


def build_engine(module: LossModule, config: EmbedderConfig, workers: int) -> Any:
    """The module in DeepSpeed's engine. Raises ConfigError if the device does not support the precision."""
    os.environ.setdefault("DS_ACCELERATOR", member_device().type)
    os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "error")
    deepspeed = import_deepspeed()
    accelerator = deepspeed.get_accelerator()
    if config.precision == "fp16" and not accelerator.is_fp16_supported():
        raise ConfigError(f"precision = 'fp16': {accelerator.device_name()} does not support it; set bf16 or float32")
    engine, *_ = deepspeed.initialize(
        model=module,
        model_parameters=list(module.parameters()),
        config=engine_config(config, workers),
        dist_init_required=False,
    )
    return engine


@functools.cache
def import_deepspeed() -> Any:
    """DeepSpeed without its shared-memory operator, whose first use would compile C++ for a minute, and without the
    deprecation warnings of torch in every step."""
    warnings.filterwarnings("ignore", r"`torch.distributed\.\w+` is deprecated", FutureWarning)
    import deepspeed
    from deepspeed import ops

    ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


@dataclass(frozen=True)
class EmbedderWork:
    """The task of each worker: train from the newest checkpoint to the last step, or until a stop is requested."""

    config: EmbedderConfig
    corpus: Path
    folder: TrainingFolder

    def __call__(self, context: RankContext) -> None:
        set_up_computing()
        training = EmbedderTraining(self.config, Corpus.open(self.corpus), self.folder, context)
        training.run()


class EmbedderTraining:
    """Training state and steps of one worker."""

    def __init__(self, config: EmbedderConfig, corpus: Corpus, folder: TrainingFolder, context: RankContext):
        self.config, self.corpus, self.folder, self.context = config, corpus, folder, context
        self.train_plan, self.held_plan = plan_chunks(config, corpus)
        self.micro = config.micro_batch(context.world)
        module = LossModule(fresh_embedder(config.spec(corpus.latent), config.seed), config.loss)
        self.engine = build_engine(module, config, context.world)
        self.device = torch.device(self.engine.device)
        self.step, self.best = 0, math.inf
        self.resume()

    def run(self) -> None:
        if self.step >= self.config.steps:
            return
        with Prefetch(self.items(), self.read) as chunks:
            source, lost = iter(chunks), 0.0
            while self.step < self.config.steps:
                started = time.perf_counter()
                sums = self.advance(source)
                self.step += 1
                losses, stop = self.reduce_losses(sums)
                waited, lost = chunks.waited - lost, chunks.waited
                self.write_step(losses, time.perf_counter() - started, waited)
                self.validate_and_save(stop)
                if stop:
                    return

    # Chunks

    def items(self) -> Iterator[list[ChunkIndex]]:
        """This worker's chunks of every micro step, starting at the current step."""
        for step in range(self.step, self.config.steps):
            own_chunks = self.train_plan.step_chunks(step)[self.context.rank :: self.context.world]
            yield from (own_chunks[i : i + self.micro] for i in range(0, len(own_chunks), self.micro))

    def read(self, indices: list[ChunkIndex]) -> Tensor:
        chunks = read_chunks(self.corpus, indices, self.config.chunk_frames)
        return chunks.pin_memory() if self.device.type == "cuda" else chunks

    # A step

    def advance(self, source: Iterator[Tensor]) -> Tensor:
        """One optimizer step; returns the parts of its loss [3], averaged over this worker's chunks."""
        sums = torch.zeros(3, device=self.device)
        self.engine.train()
        for _ in range(self.config.accumulation):
            parts = self.engine(next(source).to(self.device, non_blocking=True))
            self.engine.backward(parts.total)
            self.engine.step()
            sums += torch.stack([part.detach().float() for part in parts]) / self.config.accumulation
        return sums

    def reduce_losses(self, sums: Tensor) -> tuple[dict[str, float], bool]:
        """The loss over all workers, and whether any worker saw a stop request, so that all workers stop together."""
        stop = float(self.folder.stop_file.exists())
        means = self.worker_mean(torch.cat([sums, torch.tensor([stop], device=sums.device)]))
        return self.finite(named(means[:3])), bool(means[3] > 0)

    def finite(self, losses: dict[str, float]) -> dict[str, float]:
        """Returns `losses`, which are the same on all workers. Raises LongtakeError if the total is not finite."""
        if not math.isfinite(losses["total"]):
            raise LongtakeError(
                f"{self.folder.folder}: step {self.step}: the loss is {losses['total']}; lower lr "
                f"(now {self.config.lr:g}) or set precision to float32"
            )
        return losses

    def worker_mean(self, numbers: Tensor) -> Tensor:
        torch.distributed.all_reduce(numbers)
        return numbers / self.context.world

    def write_step(self, losses: dict[str, float], seconds: float, waited: float) -> None:
        """Write the row of a step. Only the first worker does; times and memory are its own."""
        if self.context.rank:
            return
        self.folder.check_epoch()
        gpu = torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else 0
        row = {
            "step": self.step,
            **losses,
            "lr": float(self.engine.get_lr()[0]),
            "seconds": round(seconds, 6),
            "waited_seconds": round(waited, 6),
            "chunks_per_second": self.config.batch_chunks / seconds,
            "rss_bytes": rss_bytes(),
            "gpu_bytes": gpu,
            "workers": self.context.world,
            "worker": f"{socket.gethostname()}:{os.getpid()}",
        }
        self.folder.add_step(row)

    def validate_and_save(self, stop: bool) -> None:
        last = self.step == self.config.steps
        if last or self.step % self.config.validate_every == 0:
            self.validate()
        if last or stop or self.step % self.config.checkpoint_every == 0:
            self.save()

    # Validation

    @torch.no_grad()
    def validate(self) -> None:
        """Compute the loss over one chunk of every held-out entry, and export the embedder if it is the best so far."""
        self.folder.check_epoch()
        self.engine.eval()
        chunks = self.held_plan.chunk_per_entry()
        own = chunks[self.context.rank :: self.context.world]
        sums = torch.zeros(4, device=self.device)
        rounds = -(-len(chunks) // (self.context.world * self.micro))  # equal for all: ZeRO 3 gathers weights in each
        for start in range(0, rounds * self.micro, self.micro):
            part = own[start : start + self.micro]
            parts = self.engine.module(self.read(part or chunks[:1]).to(self.device))
            sums[:3] += torch.stack([value.float() for value in parts]) * len(part)
            sums[3] += len(part)
        torch.distributed.all_reduce(sums)
        losses = self.finite(named(sums[:3] / sums[3]))
        better = losses["total"] < self.best
        self.best = min(self.best, losses["total"])
        sha256 = self.export(losses) if better else None
        if self.context.rank == 0:
            self.folder.add_validation({"step": self.step, **losses, "best": better, "sha256": sha256})

    def export(self, losses: dict[str, float]) -> str | None:
        """Write the current embedder to `best`. All workers must call it; only the first one writes."""
        with self.gathered_weights():
            if self.context.rank:
                return None
            durable.make_folder(self.folder.best.parent)
            facts = {
                "training": {key: value for key, value in asdict(self.config).items() if key != "corpus"},
                "corpus": {"name": self.corpus.name, "backbone": self.corpus.backbone, "sha256": self.corpus.digest},
                "step": self.step,
                "held_out_loss": losses,
            }
            return save_embedder(self.engine.module.embedder, self.folder.best, facts)

    def gathered_weights(self) -> Any:
        """A context in which every worker has the complete weights, which ZeRO 3 partitions."""
        zero = import_deepspeed().zero
        return zero.GatheredParameters(list(self.engine.module.parameters()), enabled=self.config.zero_stage == 3)

    # Checkpoints

    def save(self) -> None:
        """All workers save their part, then the first one records the checkpoint. Raises StorageError."""
        with self.folder.saving(self.step) as to:
            self.engine.save_checkpoint(str(to.parent), tag=to.name, client_state=self.state(), save_latest=False)
        torch.distributed.barrier()
        if self.context.rank == 0:
            self.folder.record_checkpoint(
                {"step": self.step, "workers": self.context.world, "zero_stage": self.config.zero_stage}
            )
        torch.distributed.barrier()

    def state(self) -> dict[str, Any]:
        return {"longtake": {"step": self.step, "best": self.best}}

    def resume(self) -> None:
        """Load the newest checkpoint, if any. Raises ConfigError if another number of workers saved it with ZeRO."""
        self.folder.check_epoch()
        record = self.folder.newest_checkpoint()
        torch.distributed.barrier()
        if self.context.rank == 0:
            self.folder.rewind(record["step"] if record else 0)
        torch.distributed.barrier()
        if record is None:
            return
        if record["workers"] != self.context.world and self.config.zero_stage:
            raise ConfigError(
                f"{self.folder.checkpoints}: saved by {record['workers']} workers with zero_stage "
                f"{record['zero_stage']}, which {self.context.world} cannot read; use {record['workers']} workers"
            )
        with self.folder.loading(record["step"]) as folder:
            _, state = self.engine.load_checkpoint(str(folder.parent), tag=folder.name)
            self.step, self.best = state["longtake"]["step"], state["longtake"]["best"]
        gc.collect()


def named(parts: Tensor) -> dict[str, float]:
    """The parts of a loss [3] by name, and their sum."""
    recon, delta, smooth = (float(part) for part in parts)
    return {"total": recon + delta + smooth, "reconstruction": recon, "delta": delta, "smooth": smooth}
