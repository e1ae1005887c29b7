"""The config of a retrieval embedder training, and the split of a corpus into training and held-out chunks.

Defaults are the recipe of LongLive-RAG (2026), except that the length is given in steps. Errors that follow from the
config and the corpus alone are raised here, before any worker starts.
"""

from dataclasses import asdict, dataclass, field

import torch

from longtake.platform.corpus.reader import Corpus
from longtake.platform.errors import ConfigError
from longtake.platform.models.spec import EmbedderSpec
from longtake.platform.settings.paths import FilePath
from longtake.trainers.chunks import ChunkPlan, split
from longtake.trainers.losses import LossConfig

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class ModelConfig:
    """Model sizes that do not follow from the corpus; defaults are the published ones."""

    latent_dim: int = 1024
    hidden_dims: list[int] = field(default_factory=lambda: [64, 128, 256])

    def __post_init__(self) -> None:
        if not self.hidden_dims or min([self.latent_dim, *self.hidden_dims]) < 1:
            raise ConfigError(f"model: {asdict(self)}: sizes must be 1 or more, hidden_dims not empty")


@dataclass(frozen=True)
class EmbedderConfig:
    """Config of a training; defaults are the published recipe, except that the length is given in steps.

    `batch_chunks`: chunks per step over all workers, in `accumulation` parts. `corpus`: a folder, or the name of a
    corpus under <output>/corpora.
    """

    name: str
    corpus: FilePath
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    seed: int = 42
    steps: int = 2000
    chunk_frames: int = 8
    batch_chunks: int = 128
    accumulation: int = 1
    lr: float = 3e-4
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0
    precision: str = "float32"
    zero_stage: int = 0
    held_out: float = 0.1
    validate_every: int = 100
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        positive = ("steps", "batch_chunks", "accumulation", "validate_every", "checkpoint_every")
        for key in positive:
            if getattr(self, key) < 1:
                raise ConfigError(f"{key} = {getattr(self, key)}: must be 1 or more")
        for key in ("lr", "gradient_clip"):
            if getattr(self, key) <= 0:
                raise ConfigError(f"{key} = {getattr(self, key):g}: must be more than 0")
        if self.chunk_frames < 2:
            raise ConfigError(f"chunk_frames = {self.chunk_frames}: must be 2 or more for the delta loss")
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"seed = {self.seed}: must be from 0 to 2147483647")
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out = {self.held_out:g}: must be between 0 and 1")
        if self.weight_decay < 0:
            raise ConfigError(f"weight_decay = {self.weight_decay:g}: must be 0 or more")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision = {self.precision!r}: must be {', '.join(PRECISIONS)}")
        if self.zero_stage not in range(4):
            raise ConfigError(f"zero_stage = {self.zero_stage}: must be 0, 1, 2 or 3")
        if self.precision == "bf16" and not self.zero_stage:
            raise ConfigError("zero_stage = 0: with bf16, DeepSpeed then keeps no float32 weights; set it to 1 or more")

    def spec(self, latent: tuple[int, int, int]) -> EmbedderSpec:
        return EmbedderSpec(*latent, self.model.latent_dim, tuple(self.model.hidden_dims))

    def micro_batch(self, workers: int) -> int:
        """Chunks per worker and micro step. Raises ConfigError if the batch cannot be divided evenly."""
        parts = workers * self.accumulation
        if self.batch_chunks % parts:
            rule = f"workers {workers} x accumulation {self.accumulation}"
            raise ConfigError(f"batch_chunks = {self.batch_chunks}: must be a multiple of {parts} ({rule})")
        return self.batch_chunks // parts


def plan_chunks(config: EmbedderConfig, corpus: Corpus) -> tuple[ChunkPlan, ChunkPlan]:
    """The training plan and the held-out plan. Raises ConfigError, naming the corpus, if it is too small."""
    lengths = [entry.frames for entry in corpus.entries]
    short = min(range(len(lengths)), key=lengths.__getitem__)
    if lengths[short] < config.chunk_frames:
        raise ConfigError(
            f"{corpus.folder}: entry {corpus.entries[short].take_id} has {lengths[short]} frames, fewer than "
            f"chunk_frames {config.chunk_frames}; lower it or make longer takes"
        )
    try:
        parts = split(len(lengths), config.held_out, config.seed)
    except ConfigError as error:
        raise ConfigError(f"{corpus.folder}: {error}") from error
    if config.batch_chunks > len(parts[0]):
        raise ConfigError(
            f"{corpus.folder}: batch_chunks {config.batch_chunks} is more than the {len(parts[0])} training entries "
            f"({len(parts[1])} of {len(lengths)} are held out); lower it or make a larger corpus"
        )
    train, held = (
        ChunkPlan(tuple(e), tuple(lengths[i] for i in e), config.chunk_frames, config.batch_chunks, config.seed)
        for e in parts
    )
    return train, held
