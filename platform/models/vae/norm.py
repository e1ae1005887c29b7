"""The code between two convolutions of the VAE: a sum, RMS norm over channels, a scale per channel and SiLU.

Owns the plain torch form, which defines the result, and the choice between it and the Triton kernel of the same
signature, which runs on CUDA if Triton can. Sums are in float32, and each tensor is rounded once.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from longtake.platform import kernels

SHORTEST = 1e-12


class NormSilu(Protocol):
    """Writes `out` [1, C, F, H, W]. With `keep`, overwrites `x`, of the same shape, with the sum of the terms."""

    def __call__(
        self,
        x: Tensor,
        weight: Tensor,
        out: Tensor,
        bias: Tensor | None = None,
        residual: Tensor | None = None,
        keep: bool = False,
    ) -> None: ...


def plain_norm_silu(
    x: Tensor,
    weight: Tensor,
    out: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    keep: bool = False,
) -> None:
    """The plain form of `platform/kernels/norm_silu.py`; `weight` [C] is float32, `bias` [C] of any dtype."""
    total = x.float()
    if bias is not None:
        total = total + per_channel(bias)
    if residual is not None:
        total = total + residual
    if keep:
        x.copy_(total)
        total = x.float()
    length = torch.linalg.vector_norm(total, dim=1, keepdim=True).clamp_min_(SHORTEST)
    out.copy_(F.silu((total / length).mul_(per_channel(weight)), inplace=True))


def norm_silu_for(device: torch.device) -> tuple[str, NormSilu]:
    """The name ("triton" or "torch") and the function of the form that runs on this device."""
    if kernels.used_on(device):
        from longtake.platform.kernels.norm_silu import norm_silu

        return "triton", norm_silu
    return "torch", plain_norm_silu


def per_channel(values: Tensor) -> Tensor:
    """[C] -> [1, C, 1, 1, 1]."""
    return values.view(1, -1, 1, 1, 1)


@dataclass
class Terms:
    """The activation x + bias + residual before the sum, which the following norm computes. x is overwritten."""

    x: Tensor
    bias: Tensor | None = None
    residual: Tensor | None = None

    def normed_into(self, out: Tensor, weight: Tensor, norm_silu: NormSilu, keep: bool) -> None:
        """Write silu(norm(sum)) to `out`. With `keep`, x is then the sum; otherwise the terms cannot be used again."""
        keep = keep and (self.bias is not None or self.residual is not None)
        norm_silu(self.x, weight, out, self.bias, self.residual, keep)
        self.bias = self.residual = None

    def added(self) -> Tensor:
        """Compute the sum where no norm follows."""
        if self.bias is not None:
            self.x.add_(per_channel(self.bias))
        if self.residual is not None:
            self.x.add_(self.residual)
        self.bias = self.residual = None
        return self.x
