"""Context that the model made itself: the training stage that makes `pocket-sf` of `pocket`.

A sampled block sees what the model generated, with its errors; teacher forcing shows it true frames with Gaussian
noise. Here the frames of the context come from the model. The true frames are noised to a level at which one can still
see what they show, and the sampler's own last passes bring them back, in the context that the previous round made. So
they hold the model's errors, and errors that follow from these, but they show the true street, and the true frames are
a sound target. Where the model shows another building nevertheless, the true column is put back: a model that is told
to continue the truth although its context shows something else learns to distrust its context. The first blocks of a
clip stay true, like the given start of a take.

Source: Resampling Forcing (Guo et al. 2025, arXiv:2512.15702), where each frame sees the resampled frames before it; in
rounds, all frames are resampled at once.

Shapes: B clips, F frames, C channels, latents [B, F, C, 1, 8]: a column of the street per token.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from longtake.platform.backbones.pocket import pocket_names
from longtake.platform.backbones.pocket_network import SCHEDULE, WINDOW
from longtake.platform.errors import ConfigError
from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.registry import did_you_mean
from longtake.trainers.pocket_clips import Clips
from longtake.trainers.teacher_forcing import forced_flow

OTHER = 0.25
"""A column whose latents (mean square 1) are off by more, in the mean square, shows something else."""


@dataclass(frozen=True)
class OwnContext:
    """`start`: the shipped pocket backbone whose weights the training starts from. `rounds`: how often the frames are
    made again. `passes`: at most this many of the sampler's last passes make them, so it sets the highest noise."""

    start: str
    rounds: int = 2
    passes: int = 3

    def __post_init__(self) -> None:
        if self.start not in pocket_names():
            raise ConfigError(
                f"own_context.start: {self.start!r} does not ship; {did_you_mean(self.start, pocket_names())}"
            )
        if self.rounds < 1:
            raise ConfigError(f"own_context.rounds = {self.rounds}: must be 1 or more")
        if not 1 <= self.passes <= len(SCHEDULE.steps):
            raise ConfigError(f"own_context.passes = {self.passes}: must be 1 to {len(SCHEDULE.steps)}")


@torch.no_grad()
def own_frames(network: CausalDiT, clips: Clips, rng: np.random.Generator, config: OwnContext) -> Tensor:
    """The clips' latents as the model makes them; the first blocks of each clip, up to half of them, stay true."""
    true, made = clips.latents, clips.latents
    for _ in range(config.rounds):
        made = resample(network, clips, made, rng, int(rng.integers(1, config.passes + 1)))
        is_other = (made - true).square().mean(dim=2, keepdim=True) > OTHER
        made = torch.where(is_other, true, made)
    count, frames = true.shape[:2]
    given = rng.integers(1, frames // WINDOW.block // 2 + 1, count) * WINDOW.block
    is_given = torch.from_numpy(np.arange(frames) < given[:, None])
    return torch.where(is_given[:, :, None, None, None], true, made)


def resample(network: CausalDiT, clips: Clips, context: Tensor, rng: np.random.Generator, passes: int) -> Tensor:
    """The true frames, noised for the last `passes` passes of the sampler and denoised by these, given `context`."""
    noise = torch.from_numpy(rng.standard_normal(clips.latents.shape, dtype=np.float32))
    sigmas = SCHEDULE.sigma(SCHEDULE.timesteps)[-passes:]
    clean = clips.latents
    for sigma in sigmas:
        noisy = torch.lerp(clean, noise, sigma)
        levels = sigma.expand(clean.shape[:2])
        flow = forced_flow(network, noisy, levels, context, clips.text, clips.layout)
        clean = noisy - sigma * flow
        noise = clean + flow
    return clean
