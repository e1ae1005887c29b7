"""The flow-matching schedule: the noise level of each denoising pass, and the step between two passes.

Flow matching with a shift (Wan; Self-Forcing's scheduler): x_t = (1 - sigma) * x_0 + sigma * noise and the
network predicts noise - x_0. Tables have 1000 training steps; sigma(t) is the nearest table entry, so sigma(0) is the
last entry (0.005 for shift 5) and not 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

TRAINING_STEPS = 1000


@dataclass(frozen=True)
class FlowSchedule:
    """`steps` are raw training steps, noisiest first; `warp` maps them through the shifted table.

    `ancestral`: between two passes, new noise is added to the clean prediction (distilled models); otherwise, the noise
    that the flow predicts, which is an Euler step of the flow's ODE (models trained by plain flow matching).
    """

    steps: tuple[int, ...] = (1000, 750, 500, 250)
    shift: float = 5.0
    warp: bool = True
    ancestral: bool = True

    @cached_property
    def sigmas(self) -> Tensor:
        """[1000] float32, from 1 downwards: shift * s / (1 + (shift - 1) * s) over a linear s."""
        import torch

        linear = torch.linspace(1.0, 0.0, TRAINING_STEPS + 1)[:-1]
        return self.shift * linear / (1 + (self.shift - 1) * linear)

    @cached_property
    def table(self) -> Tensor:
        """[1000] float32 timesteps that belong to `sigmas`."""
        return self.sigmas * TRAINING_STEPS

    @cached_property
    def timesteps(self) -> Tensor:
        """[passes] float32: the network's timestep in each denoising pass."""
        import torch

        raw = torch.tensor(self.steps)
        if not self.warp:
            return raw.float()
        return torch.cat([self.table, torch.zeros(1)])[TRAINING_STEPS - raw]

    def sigma(self, timestep: Tensor) -> Tensor:
        """Noise level of the table entry nearest to each timestep [...] (of two equally near, the first)."""
        distance = (self.table - timestep.unsqueeze(-1)).abs()
        return self.sigmas[distance.argmin(dim=-1)]

    def clean(self, noisy: Tensor, flow: Tensor, sigma: Tensor) -> Tensor:
        """x_0 = x_t - sigma * flow, in float64 and rounded back."""
        return (noisy.double() - sigma.double() * flow.double()).to(noisy.dtype)

    def noised(self, clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """x_t = (1 - sigma) * x_0 + sigma * noise."""
        return (1 - sigma) * clean + sigma * noise
