"""`longtake train embedder CONFIG`: a worker group trains the retrieval embedder; this process monitors the training.

Steps: read, train, register, summarize. The workers write to the folder of the training; the display and MLflow read
from there, so no worker waits for them. After a stop or a kill, the same command resumes from the newest checkpoint.
Exit codes: 0 done, 3 done but MLflow not reached, 75 stopped.
"""

from __future__ import annotations

import copy
import os
import re
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from longtake.jobs.background.publisher import how_to_open
from longtake.jobs.console import console_for, say
from longtake.jobs.embedder.monitor import TrainingMonitor
from longtake.jobs.sweep.spec import TrackingConfig, check_output
from longtake.platform.corpus.reader import Corpus
from longtake.platform.errors import ConfigError, Interrupted, StorageError
from longtake.platform.names import check_name
from longtake.platform.settings import config as configs
from longtake.platform.settings.paths import FilePath
from longtake.platform.store import durable
from longtake.platform.store.root import OutputRoot
from longtake.platform.store.training import TrainingFolder
from longtake.platform.tracking import model_registry
from longtake.platform.tracking.addresses import OFF, default_uri
from longtake.platform.tracking.client import TrackingError
from longtake.platform.tracking.training_log import training_run
from longtake.platform.workers.group import GroupSize
from longtake.platform.workers.ray_cluster import INLINE, Cluster, connect
from longtake.trainers.embedder import EmbedderWork
from longtake.trainers.embedder_config import EmbedderConfig, plan_chunks

if TYPE_CHECKING:
    from longtake.platform.tracking.training_log import TrainingLog

EXPERIMENT = "train-embedder"
RESERVED_ALIAS = re.compile(r"latest|v[0-9]+")


@dataclass(frozen=True)
class GroupConfig:
    """The worker group. `auto`: one worker per GPU or, without GPUs, per core. `restarts`: how often the whole group is
    restarted after losing a worker."""

    count: Any = "auto"
    gpus_per_worker: Any = "auto"
    cluster: str = "local"
    restarts: int = 3

    def __post_init__(self) -> None:
        if self.count != "auto" and (not isinstance(self.count, int) or isinstance(self.count, bool) or self.count < 1):
            raise ConfigError(f"workers.count: {self.count!r} is not 'auto' or a whole number from 1")
        if self.gpus_per_worker not in ("auto", 0, 1):  # NCCL does not work between two members on one GPU
            raise ConfigError(f"workers.gpus_per_worker: {self.gpus_per_worker!r} is not 'auto', 0 or 1")
        if self.restarts < 0:
            raise ConfigError(f"workers.restarts: {self.restarts} is not 0 or more")
        if not self.cluster:
            raise ConfigError("workers.cluster: is empty; write local, inline or the address of a Ray cluster")

    def size(self, cluster: Cluster, batch: int) -> GroupSize:
        """The size of the group on these nodes: the most workers that divide the batch evenly."""
        gpus = sum(node.gpus for node in cluster.nodes)
        each = (1.0 if gpus else 0.0) if self.gpus_per_worker == "auto" else float(self.gpus_per_worker)
        if cluster.address == INLINE:
            return GroupSize(1, 0.0)
        places = int(gpus / each) if each else int(sum(node.cpus for node in cluster.nodes))
        most = max(n for n in range(1, max(1, places) + 1) if batch % n == 0)
        count = most if self.count == "auto" else int(self.count)
        return GroupSize(count, each, self.restarts, settings=("workers.count", "workers.gpus_per_worker"))


@dataclass(frozen=True)
class RegisterConfig:
    """The registered name of the best embedder, and the alias that moves to it. name null: do not register it."""

    name: str | None = "longtake-embedder"
    alias: str = "best"

    def __post_init__(self) -> None:
        for noun, value in (("model name", self.name), ("alias", self.alias)):
            if value is not None:
                check_name(noun, value)
        if RESERVED_ALIAS.fullmatch(self.alias):
            raise ConfigError(
                f"register.alias: {self.alias!r} is reserved by MLflow for versions; choose another, such as best"
            )


@dataclass(frozen=True)
class EmbedderJob(EmbedderConfig):
    """A training file: the computation (EmbedderConfig), the output folder, the workers and the registered name."""

    output: FilePath = "runs"
    register: RegisterConfig = field(default_factory=RegisterConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    workers: GroupConfig = field(default_factory=GroupConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_output(self.output)
        check_name("training name", self.name)
        if self.workers.count != "auto" and self.workers.cluster != INLINE:
            self.micro_batch(self.workers.count)

    @property
    def computed(self) -> EmbedderConfig:
        """The settings that determine the numbers, and no others."""
        kept = {item.name: getattr(self, item.name) for item in fields(EmbedderConfig)}
        return EmbedderConfig(**kept)

    @property
    def uri(self) -> str | None:
        """The tracking store; None when tracking is off."""
        if self.tracking.uri == OFF:
            return None
        return self.tracking.uri or default_uri(Path(self.output))


def embedder(file: Path, overrides: list[str], console: Console | None = None) -> int:
    """Runs the whole job; returns the exit code. Raises LongtakeError for errors that a user can fix."""
    console = console or console_for()
    job = configs.load(file, EmbedderJob, overrides)
    corpus_folder = find_corpus(job)
    try:
        corpus = Corpus.open(corpus_folder)
        train, held_out = plan_chunks(job.computed, corpus)
    except ConfigError as error:
        raise ConfigError(f"{file}: corpus: {error}") from error
    folder = TrainingFolder(job.output, job.name)
    with folder.lock():
        folder.keep_config(f"{configs.dump(job.computed)}corpus_sha256: {corpus.digest}\n", place="corpus")
        folder.clear_stop()
        say(
            console,
            f"{job.name}: {job.steps} steps of {job.batch_chunks} chunks of {job.chunk_frames} frames; "
            f"{len(train.entries)} entries of {corpus_folder} to train on, {len(held_out.entries)} held out",
        )
        with tracked(job, corpus) as log:
            started, monitor, unfinished = (
                time.perf_counter(),
                TrainingMonitor(job.steps, folder, console, log),
                not finished(folder, job),
            )
            if unfinished:
                work(job, corpus_folder, folder, monitor, console)
            monitor.update(force=True)
            problem, address = register(job, folder, log, unfinished)
        summarize(job, folder, console, address, time.perf_counter() - started)
        if job.uri and log is not None:
            say(console, f"MLflow: {how_to_open(job.uri, log.experiment_id)}")
        if problem:
            say(console, problem)
    return 3 if problem else 0


def find_corpus(job: EmbedderJob) -> Path:
    """The folder of `corpus`, which is a name under <output>/corpora or a path."""
    by_name = OutputRoot(job.output).corpora / job.corpus
    return (by_name if os.path.isdir(by_name) or not os.path.isdir(job.corpus) else Path(job.corpus)).absolute()


def tracked(job: EmbedderJob, corpus: Corpus) -> Any:
    """A context with the log of the MLflow run, or with None if tracking is off."""
    if job.uri is None:
        return nullcontext(None)
    params = flat(asdict(job.computed)) | {"corpus": Path(job.corpus).name, "corpus_sha256": corpus.digest}
    name = job.tracking.experiment or EXPERIMENT
    return training_run(Path(job.output), name, job.name, params, job.uri)


def flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Flattens nested keys with dots."""
    flattened: dict[str, Any] = {}
    for key, value in values.items():
        flattened |= flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return flattened


def finished(folder: TrainingFolder, job: EmbedderJob) -> bool:
    """Whether the last step is saved. Raises StorageError if one of its files is missing."""
    record = folder.newest_checkpoint()
    if record is None or record["step"] < job.steps:
        return False
    for path in (folder.best, folder.best.with_suffix(".json"), folder.steps_file, folder.validation_file):
        if not path.is_file() or not path.stat().st_size:
            raise StorageError(
                f"{path}: is missing, but the training has ended; remove {folder.checkpoint_record(record['step'])} "
                f"to repeat its last steps, or {folder.folder} to start again"
            )
    return True


def work(job: EmbedderJob, corpus: Path, folder: TrainingFolder, monitor: TrainingMonitor, console: Console) -> None:
    """Trains to the last step. Raises Interrupted if a signal ends it early."""
    record = folder.newest_checkpoint()
    if record:
        say(console, f"{job.name}: resuming from its newest checkpoint, step {record['step']}")
    with connect(job.workers.cluster) as cluster:
        size = job.workers.size(cluster, job.batch_chunks // job.accumulation)
        job.micro_batch(size.workers)
        noun = "worker" if size.workers == 1 else "workers"
        say(console, f"{job.name}: {size.workers} {noun}, {size.gpus:g} GPU each; starting")
        stop_requested = False

        def watch() -> None:
            nonlocal stop_requested
            if cluster.stop.is_set and not stop_requested:
                stop_requested = True
                folder.ask_to_stop()
                say(console, f"{cluster.stop.signal_name}: saving a checkpoint; a second signal stops at once")
            monitor.update()

        with monitor:
            task = EmbedderWork(job.computed, corpus, copy.copy(folder))  # the copy keeps the epoch of this run
            cluster.run_group(task, size, folder.scratch, watch)
        if not finished(folder, job):
            newest = folder.newest_checkpoint()
            raise Interrupted(
                f"stopped: {newest['step'] if newest else 0} of {job.steps} steps are saved; run again to resume"
            )


def register(job: EmbedderJob, folder: TrainingFolder, log: TrainingLog | None, trained: bool) -> tuple[str, str]:
    """Logs files to MLflow and registers the best embedder; returns (problem or '', address of the model or '').

    The alias moves only after new steps: repeating the command of a finished training does not take it back.
    """
    if log is None or job.uri is None:
        return "", ""
    log.keep(folder.validation_file, "checkpoints")
    for step in folder.recorded():
        log.keep(folder.checkpoint_record(step), "checkpoints")
    if log.failed:
        return "tracking: the run was logged only in part; run again to publish", ""
    if job.register.name is None:
        return "", ""
    sidecars = [folder.best.with_suffix(".json")]
    try:
        name, alias = job.register.name, job.register.alias
        number = model_registry.register(job.uri, log.run_id, name, alias, folder.best, sidecars, trained)
    except TrackingError as error:
        return str(error), ""
    return "", f"models:/{name}/{number}"


def summarize(job: EmbedderJob, folder: TrainingFolder, console: Console, address: str, seconds: float) -> None:
    """Prints the results of the training."""
    rows, best = folder.steps(), durable.read_json(folder.best.with_suffix(".json")) or {}
    losses = best["held_out_loss"]
    spent = sum(row["seconds"] for row in rows)
    waited = sum(row["waited_seconds"] for row in rows)
    say(console, f"{job.name}: {len(rows)} steps, {spent:.0f} s of computing, {seconds:.0f} s in this run")
    say(
        console,
        f"held-out loss {losses['total']:.4f} at step {best['step']}: reconstruction {losses['reconstruction']:.4f}, "
        f"delta {losses['delta']:.4f}, smooth {losses['smooth']:.4f}",
    )
    say(
        console,
        f"{job.batch_chunks * len(rows) / spent:.0f} chunks/s; waiting for data {100 * waited / spent:.2f} % of step "
        f"time; peak memory of a worker {max(row['rss_bytes'] for row in rows) / 1e6:.0f} MB"
        + (f", of a GPU {max(row['gpu_bytes'] for row in rows) / 1e9:.2f} GB" if rows[-1]["gpu_bytes"] else ""),
    )
    path = folder.best.relative_to(Path.cwd()) if folder.best.is_relative_to(Path.cwd()) else folder.best
    say(console, f"embedder: {path}")
    if address:
        alias = f"models:/{job.register.name}@{job.register.alias}"
        say(
            console, f"registered: {address}; in a sweep: rag: {{descriptor: '{address}'}}, or '{alias}' for the newest"
        )
