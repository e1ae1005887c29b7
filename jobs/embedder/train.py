"""`longtake train embedder CONFIG`: a crew of workers trains the retrieval embedder; this process keeps the books.

Named steps: read, train, register, tell. The workers write to the training's folder; what is shown and what MLflow gets
is read from there, so no worker ever waits for either. Stopped or killed at any moment, the same command goes on from
the newest checkpoint. Exit codes as everywhere: 0 done, 3 done but MLflow not reached, 75 stopped.
"""

from __future__ import annotations

import copy
import re
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from longtake.jobs.console import console_for, say
from longtake.jobs.embedder.monitor import TrainingMonitor
from longtake.jobs.results.publisher import ui_command_of
from longtake.jobs.sweep.spec import TrackingConfig, check_output
from longtake.platform import config as configs
from longtake.platform.corpus.reader import Corpus
from longtake.platform.errors import ConfigError, Interrupted, StorageError
from longtake.platform.names import check_name
from longtake.platform.store import durable
from longtake.platform.store.root import OutputRoot
from longtake.platform.store.training import TrainingFolder
from longtake.platform.tracking import model_registry
from longtake.platform.tracking.client import OFF, TrackingError, default_uri
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
    """Who computes; `auto` is one worker a GPU, or a core where there are none. `restarts`: how often a crew that lost
    a worker is started again."""

    count: Any = "auto"
    gpus_per_worker: Any = "auto"
    cluster: str = "local"
    restarts: int = 3

    def __post_init__(self) -> None:
        if self.count != "auto" and (not isinstance(self.count, int) or isinstance(self.count, bool) or self.count < 1):
            raise ConfigError(f"workers.count: {self.count!r} is not 'auto' or a whole number from 1")
        if self.gpus_per_worker not in ("auto", 0, 1):  # two members on one GPU cannot speak through nccl
            raise ConfigError(f"workers.gpus_per_worker: {self.gpus_per_worker!r} is not 'auto', 0 or 1")
        if self.restarts < 0:
            raise ConfigError(f"workers.restarts: {self.restarts} is not 0 or more")
        if not self.cluster:
            raise ConfigError("workers.cluster: is empty; write local, inline or the address of a Ray cluster")

    def size(self, cluster: Cluster, batch: int) -> GroupSize:
        """The crew for these nodes: no more workers than share the batch evenly."""
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
    """The name that the best embedder is registered under, and the alias that moves to it. name null: it is not."""

    name: str | None = "longtake-embedder"
    alias: str = "best"

    def __post_init__(self) -> None:
        for noun, value in (("model name", self.name), ("alias", self.alias)):
            if value is not None:
                check_name(noun, value)
        if RESERVED_ALIAS.fullmatch(self.alias):
            raise ConfigError(
                f"register.alias: {self.alias!r} is kept by MLflow for versions; take another, such as best"
            )


@dataclass(frozen=True)
class EmbedderJob(EmbedderConfig):
    """A training file: what is computed (EmbedderConfig), and where, by whom and under which name it is kept."""

    output: str = "runs"
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
        """What decides the numbers, and nothing else."""
        kept = {item.name: getattr(self, item.name) for item in fields(EmbedderConfig)}
        return EmbedderConfig(**kept)

    @property
    def uri(self) -> str | None:
        """The tracking store; None when tracking is off."""
        if self.tracking.uri == OFF:
            return None
        return self.tracking.uri or default_uri(Path(self.output))


def embedder(file: Path, overrides: list[str], console: Console | None = None) -> int:
    """The whole job; returns the exit code. Raises LongtakeError for what a user can mend."""
    console = console or console_for()
    job = configs.load(file, EmbedderJob, overrides)
    corpus_folder = find_corpus(job)
    try:
        corpus = Corpus.open(corpus_folder)
        train, held = plan_chunks(job.computed, corpus)
    except ConfigError as error:
        raise ConfigError(f"{file}: corpus: {error}") from error
    folder = TrainingFolder(job.output, job.name)
    with folder.lock():
        folder.keep_config(f"{configs.dump(job.computed)}corpus_sha256: {corpus.digest}\n")
        folder.clear_stop()
        say(
            console,
            f"{job.name}: {job.steps} steps of {job.batch_chunks} chunks of {job.chunk_frames} frames; "
            f"{len(train.entries)} entries of {corpus_folder} to train on, {len(held.entries)} held out",
        )
        with tracked(job, corpus) as log:
            begun, monitor, due = (
                time.perf_counter(),
                TrainingMonitor(job.steps, folder, console, log),
                not finished(folder, job),
            )
            if due:
                work(job, corpus_folder, folder, monitor, console)
            monitor.update(force=True)
            problem, address = register(job, folder, log, due)
        tell(job, folder, console, address, time.perf_counter() - begun)
        if problem:
            say(console, problem)
    return 3 if problem else 0


def find_corpus(job: EmbedderJob) -> Path:
    """The folder that `corpus` names: itself, or one of that name under <output>/corpora."""
    named = OutputRoot(job.output).corpora / job.corpus
    return (named if named.is_dir() or not Path(job.corpus).is_dir() else Path(job.corpus)).absolute()


def tracked(job: EmbedderJob, corpus: Corpus) -> Any:
    """The run in MLflow; None inside when tracking is off."""
    if job.uri is None:
        return nullcontext(None)
    params = flat(asdict(job.computed)) | {"corpus_sha256": corpus.digest}
    name = job.tracking.experiment or EXPERIMENT
    return training_run(Path(job.output), name, job.name, params, job.uri)


def flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Nested keys with dots."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found


def finished(folder: TrainingFolder, job: EmbedderJob) -> bool:
    """Whether the last step is saved. Raises StorageError if what it left is gone."""
    record = folder.newest_checkpoint()
    if record is None or record["step"] < job.steps:
        return False
    for path in (folder.best, folder.best.with_suffix(".json"), folder.steps_file, folder.validation_file):
        if not path.is_file() or not path.stat().st_size:
            raise StorageError(
                f"{path}: is gone, though the training has ended; remove {folder.checkpoint_record(record['step'])} "
                f"to make its last steps again, or {folder.folder} to begin anew"
            )
    return True


def work(job: EmbedderJob, corpus: Path, folder: TrainingFolder, monitor: TrainingMonitor, console: Console) -> None:
    """Train to the last step. Raises Interrupted when a signal ended it early."""
    record = folder.newest_checkpoint()
    if record:
        say(console, f"{job.name}: goes on after step {record['step']}, its newest checkpoint")
    with connect(job.workers.cluster) as cluster:
        size = job.workers.size(cluster, job.batch_chunks // job.accumulation)
        job.micro_batch(size.workers)
        noun = "worker" if size.workers == 1 else "workers"
        say(console, f"{job.name}: {size.workers} {noun}, {size.gpus:g} GPU each; starting")
        asked = False

        def watch() -> None:
            nonlocal asked
            if cluster.stop.is_set and not asked:
                asked = True
                folder.ask_to_stop()
                say(console, f"{cluster.stop.signal_name}: saving a checkpoint; a second signal does not wait for it")
            monitor.update()

        with monitor:
            task = EmbedderWork(job.computed, corpus, copy.copy(folder))  # the epoch of this run, also after its end
            cluster.run_group(task, size, folder.scratch, watch)
        if not finished(folder, job):
            newest = folder.newest_checkpoint()
            raise Interrupted(
                f"stopped: {newest['step'] if newest else 0} of {job.steps} steps are saved; run again to resume"
            )


def register(job: EmbedderJob, folder: TrainingFolder, log: TrainingLog | None, trained: bool) -> tuple[str, str]:
    """(what went wrong, the model's address): files and checkpoints to MLflow, the best as a version with an alias.

    An alias does not go back to a training that had ended before: `best` is the newest training's.
    """
    if log is None or job.uri is None:
        return "", ""
    log.keep(folder.validation_file, "checkpoints")
    for step in folder.recorded():
        log.keep(folder.checkpoint_record(step), "checkpoints")
    if log.failed:
        return "tracking: the run was not logged to its end; run it again to publish", ""
    if job.register.name is None:
        return "", ""
    others = [folder.best.with_suffix(".json")]
    try:
        name, alias = job.register.name, job.register.alias
        number = model_registry.register(job.uri, log.run_id, name, alias, folder.best, others, trained)
    except TrackingError as error:
        return str(error), ""
    return "", f"models:/{name}/{number}"


def tell(job: EmbedderJob, folder: TrainingFolder, console: Console, address: str, seconds: float) -> None:
    """What came of it."""
    rows, best = folder.steps(), durable.read_json(folder.best.with_suffix(".json")) or {}
    held = best["held_out_loss"]
    spent = sum(row["seconds"] for row in rows)
    waited = sum(row["waited_seconds"] for row in rows)
    say(console, f"{job.name}: {len(rows)} steps, {spent:.0f} s of computing, {seconds:.0f} s in this run")
    say(
        console,
        f"held-out loss {held['total']:.4f} at step {best['step']}: reconstruction {held['reconstruction']:.4f}, "
        f"delta {held['delta']:.4f}, smooth {held['smooth']:.4f}",
    )
    say(
        console,
        f"{job.batch_chunks * len(rows) / spent:.0f} chunks/s; waiting for data {100 * waited / spent:.2f} % of step "
        f"time; most memory of a worker {max(row['rss_bytes'] for row in rows) / 1e6:.0f} MB"
        + (f", of a GPU {max(row['gpu_bytes'] for row in rows) / 1e9:.2f} GB" if rows[-1]["gpu_bytes"] else ""),
    )
    shown = folder.best.relative_to(Path.cwd()) if folder.best.is_relative_to(Path.cwd()) else folder.best
    say(console, f"embedder: {shown}")
    if address:
        alias = f"models:/{job.register.name}@{job.register.alias}"
        say(
            console, f"registered: {address}; in a sweep: rag: {{descriptor: '{address}'}}, or '{alias}' for the newest"
        )
    if job.uri:
        say(console, f"MLflow: {ui_command_of(job.uri)}")
