"""Training of the pocket backbones: flow matching with teacher forcing; seeded and resumable.

Owns the loss, the optimisers and the content of checkpoints; jobs/pocket.py opens the locked folder and shows the
reports. A step is a pure function of (state, seed, step), so a resumed training ends with the weights of an
uninterrupted one.

Recipe: v-prediction at shifted logit-normal times, parallel noisy and clean streams, slightly noised context without a
noise level as input, Muon for the matrices of the blocks and AdamW for the rest, cosine decay from 40 %, EMA. With
`own_context`, the training starts from a shipped backbone and its context is what the model makes (own_context.py).
"""

import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from longtake.platform.backbones.pocket import pocket_network
from longtake.platform.backbones.pocket_network import NETWORK, SCHEDULE
from longtake.platform.checkpoints.int8_rows import pack, unpack
from longtake.platform.errors import ConfigError, LongtakeError
from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.names import check_name
from longtake.platform.store import durable
from longtake.platform.store.training import TrainingFolder
from longtake.trainers.chunks import HELD_OUT, draws
from longtake.trainers.muon import Muon
from longtake.trainers.own_context import OwnContext, own_frames
from longtake.trainers.pocket_clips import Clips, TrainingScenes, draw_clips, make_scenes
from longtake.trainers.teacher_forcing import forced_flow

STATE = "state.pt"


@dataclass(frozen=True)
class PocketConfig:
    """Training of one pocket backbone. `memory`: also train on past frames; `streets`: number of training scenes.
    `seed` sets the first weights (without `own_context`), the order of the data and the noise."""

    name: str
    memory: bool = False
    seed: int = 0
    steps: int = 5000
    streets: int = 9000
    clips: int = 4
    frames: int = 48
    lr: float = 3e-3
    weight_decay: float = 0.01
    decay_from: float = 0.4
    ema: float = 0.997
    context_noise: float = 0.15
    time_spread: float = 1.2
    checkpoint_every: int = 250
    own_context: OwnContext | None = None

    def __post_init__(self) -> None:
        check_name("training name", self.name)
        for field in ("steps", "streets", "clips", "checkpoint_every"):
            if getattr(self, field) < 1:
                raise ConfigError(f"{field} = {getattr(self, field)}: must be 1 or more")
        if self.frames < 6 or self.frames % 3:
            raise ConfigError(f"frames = {self.frames}: must be a multiple of 3, and at least 6")


@dataclass(frozen=True)
class StepReport:
    """Report of a finished step; `cpu_seconds`: CPU time since the training began, earlier runs included."""

    step: int
    loss: float
    lr: float
    cpu_seconds: float


def learning_rate(config: PocketConfig, step: int) -> float:
    """50 steps of warm-up, then constant, then half a cosine to zero."""
    start = config.decay_from * config.steps
    progress = max(0.0, (step - start) / max(1.0, config.steps - start))
    warm = min(1.0, (step + 1) / 50)
    return config.lr * warm * 0.5 * (1 + math.cos(math.pi * progress))


def context_frames(network: CausalDiT, clips: Clips, rng: np.random.Generator, config: PocketConfig) -> Tensor:
    """The frames of a clip [B, F, C, 1, 8] as the context shows them, before `context_noise`: true, or the model's."""
    if config.own_context is None:
        return clips.latents
    return own_frames(network, clips, rng, config.own_context)


def flow_loss(network: CausalDiT, clips: Clips, seen: Tensor, rng: np.random.Generator, config: PocketConfig) -> Tensor:
    """Mean squared error of the predicted flow noise - x_0 over every block of every clip. `seen`: the frames of the
    context, from `context_frames`."""
    clean = clips.latents
    count, frames = clean.shape[:2]
    raw = rng.normal(0.0, config.time_spread, (count, frames // 3))
    linear = 1 / (1 + np.exp(-raw))
    shifted = SCHEDULE.shift * linear / (1 + (SCHEDULE.shift - 1) * linear)
    sigma = torch.from_numpy(shifted.repeat(3, axis=1)).float()
    noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32))
    blur = torch.from_numpy(rng.uniform(0, config.context_noise, (count, frames)).astype(np.float32))
    context = seen + blur[:, :, None, None, None] * torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32))
    noisy = torch.lerp(clean, noise, sigma[:, :, None, None, None])
    flow = forced_flow(network, noisy, sigma, context, clips.text, clips.layout)
    return (flow - (noise - clean)).square().mean()


class PocketTraining:
    """A network with its moving average and optimisers; `run` yields a report per step and saves checkpoints."""

    def __init__(self, config: PocketConfig, scenes: TrainingScenes, folder: TrainingFolder):
        self.config, self.scenes, self.folder = config, scenes, folder
        torch.manual_seed(config.seed)
        if config.own_context is None:
            self.network = CausalDiT(NETWORK)
            zero_output_layers(self.network)
        else:
            self.network = pocket_network(config.own_context.start)
        self.average = {key: value.clone() for key, value in self.network.state_dict().items()}
        matrices = [p for p in self.network.blocks.parameters() if p.ndim == 2]
        matrix_ids = {id(p) for p in matrices}
        rest = [p for p in self.network.parameters() if id(p) not in matrix_ids]
        decay = config.weight_decay
        self.optimisers: list[torch.optim.Optimizer] = [
            Muon(matrices, config.lr, decay),
            torch.optim.AdamW(rest, lr=config.lr, weight_decay=decay, betas=(0.9, 0.95)),
        ]
        self.step, self.cpu_before = 0, 0.0
        self.resume()
        self.cpu_start = time.process_time()

    def averaged(self) -> CausalDiT:
        """A network with the averaged weights as `export` writes them."""
        network = CausalDiT(NETWORK)
        network.load_state_dict(unpack(pack(self.average)))
        return network

    @property
    def cpu_seconds(self) -> float:
        return self.cpu_before + time.process_time() - self.cpu_start

    def run(self) -> Iterator[StepReport]:
        """A report per step; a checkpoint follows the report of its step, so that none of its rows is missing."""
        while self.step < self.config.steps:
            yield self.advance()
            if self.step % self.config.checkpoint_every == 0 or self.step == self.config.steps:
                self.save()

    def advance(self) -> StepReport:
        """One optimiser step; mutates the training."""
        config = self.config
        rng = draws(config.seed, self.step)
        clips = draw_clips(self.scenes, rng, config.clips, config.frames, config.memory)
        seen = context_frames(self.network, clips, rng, config)
        loss = flow_loss(self.network, clips, seen, rng, config)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        rate = learning_rate(config, self.step)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        value = float(loss.detach())
        if not math.isfinite(value):
            raise LongtakeError(f"{self.folder.folder}: step {self.step}: the loss is {value}; lower lr")
        self.update_average()
        return StepReport(self.step, value, rate, self.cpu_seconds)

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the average towards the network, faster in the first steps."""
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for key, value in self.network.state_dict().items():
            self.average[key].lerp_(value, 1 - keep)

    def save(self) -> None:
        state = {
            "step": self.step,
            "cpu_seconds": self.cpu_seconds,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }
        with self.folder.saving(self.step) as folder:
            torch.save(state, folder / STATE)
        self.folder.record_checkpoint({"step": self.step})

    def export(self) -> Path:
        """Write the averaged weights as int8 rows, with the config as metadata; returns the file."""
        facts = {"config": json.dumps(asdict(self.config)), "cpu_seconds": f"{self.cpu_seconds:.0f}"}
        with durable.replacing(self.folder.weights) as temp:
            save_file(pack(self.average), temp, facts)
        return self.folder.weights

    def resume(self) -> None:
        """From the newest checkpoint, if there is one. Raises StorageError that says how to go on without it."""
        record = self.folder.newest_checkpoint()
        self.folder.rewind(record["step"] if record else 0)
        if record is None:
            return
        with self.folder.loading(record["step"]) as folder:
            state = torch.load(folder / STATE, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average = state["average"]
            for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(saved)
            self.step, self.cpu_before = state["step"], state["cpu_seconds"]


def adopt_early_state(config: PocketConfig, folder: TrainingFolder) -> None:
    """Makes a checkpoint of the one file that earlier versions kept in the training's folder. Raises ConfigError when
    another config made it."""
    if not folder.early_state.is_file():
        return
    state = torch.load(folder.early_state, weights_only=True)
    if PocketConfig(**state["config"]) != config:
        raise ConfigError(f"{folder.early_state}: was made by another config; choose another name or delete the folder")
    with folder.saving(state["step"]) as to:
        shutil.copyfile(folder.early_state, to / STATE)
    folder.record_checkpoint({"step": state["step"]})
    folder.early_state.unlink()


@torch.no_grad()
def held_out_loss(network: CausalDiT, config: PocketConfig, rounds: int = 32) -> float:
    """Loss on scenes after those of the training and of the shipped backbones, one of which it may have started from,
    with the context of the training; equal draws for every `seed`."""
    scenes = make_scenes(64, lambda done: None, first=max(config.streets, PocketConfig.streets))
    losses = []
    for i in range(rounds):
        rng = draws(HELD_OUT, i)
        clips = draw_clips(scenes, rng, 4, config.frames, config.memory)
        losses.append(float(flow_loss(network, clips, context_frames(network, clips, rng, config), rng, config)))
    return sum(losses) / len(losses)


@torch.no_grad()
def zero_output_layers(network: CausalDiT) -> None:
    """Set gates and the head to zero, so that every layer starts as the identity."""
    for layer in network.layers():
        layer.modulation.zero_()
    network.time_projection.get_parameter("1.weight").mul_(0.1)
    network.head.modulation.zero_()
    network.head.head.weight.zero_()
    network.head.head.bias.zero_()
