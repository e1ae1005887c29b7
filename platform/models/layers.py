"""Norms, projections and the feed-forward of a DiT layer, in the fastest implementation for each device.

Implementations differ only in rounding. On a CPU, and if gradients are needed, torch's plain operators run.

Shapes: B batch, N tokens, D dim, h heads, d head dim.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longtake.platform import kernels


class GELU(nn.Module):
    """The tanh form of GELU.

    0.5 * (1 + tanh(u)) = sigmoid(2 u): without gradients on a CPU this takes 45 % of the time of torch's kernel, whose
    tanh is slow there (72 x 1536 numbers: 0.18 ms against 0.41 ms), and differs from it by at most 5e-7.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad or x.device.type != "cpu":
            return F.gelu(x, approximate="tanh")
        twice = 2 * (2 / math.pi) ** 0.5
        inner = (x * x).mul_(0.044715 * twice).add_(twice).mul_(x)
        return inner.sigmoid_().mul_(x)


class FeedForward(nn.Sequential):
    """Linear, GELU, linear: [..., D] -> [..., D]."""

    def __init__(self, dim: int, inner: int):
        super().__init__(nn.Linear(dim, inner), GELU(), nn.Linear(inner, dim))

    def forward(self, x: Tensor) -> Tensor:
        up, _, down = self
        if type(up) is nn.Linear and x.device.type == "cuda" and not torch.is_grad_enabled():
            inner: Tensor = linear_gelu(x, up.weight, up.bias)
            return down(inner)
        return super().forward(x)


@torch.library.custom_op("longtake::linear_gelu", mutates_args=())
def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """GELU (tanh form) of x @ weight^T + bias. On CUDA it is part of the product, whose result is written once.

    A custom operator, because a compiler would separate the product and the activation again. torch's operator computes
    the tanh form on CUDA and the erf form on a CPU.
    """
    if x.device.type != "cuda":
        return F.gelu(F.linear(x, weight, bias), approximate="tanh")
    rows = torch._addmm_activation(bias, x.reshape(-1, x.shape[-1]), weight.t(), use_gelu=True)
    return rows.view(*x.shape[:-1], -1)


@linear_gelu.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


class Attention(nn.Module):
    """Projections and RMS-normed queries and keys (over the whole dim) of one attention layer."""

    def __init__(self, dim: int, heads: int, eps: float):
        super().__init__()
        self.heads, self.eps, self.dim = heads, eps, dim
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = nn.RMSNorm(dim, eps), nn.RMSNorm(dim, eps)
        self.qkv: nn.Module | None = None

    def split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1))

    def query(self, x: Tensor) -> Tensor:
        return self.split_heads(self.norm_q(self.q(x)))

    def key_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.split_heads(self.norm_k(self.k(x))), self.split_heads(self.v(x))

    def query_key_value(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, N, D] -> query, key and value [B, N, h, d], not rotated. The value may be a view of the joint product."""
        if self.qkv is None:
            return self.query(x), *self.key_value(x)
        parts = self.qkv(x).unflatten(-1, (3, self.dim))
        query, key = self.normed(parts[..., :2, :])
        return self.split_heads(query), self.split_heads(key), self.split_heads(parts[..., 2, :])

    def normed(self, parts: Tensor) -> tuple[Tensor, Tensor]:
        """Normalise queries and keys [B, N, 2, D] -> two tensors [B, N, D]."""
        if not torch.compiler.is_compiling() and kernels.used_on(parts.device):
            from longtake.platform.kernels.norm_rows import norm_rows

            query, key = norm_rows(parts.flatten(0, 1), self.norm_weights, self.eps).unflatten(1, parts.shape[:2])
            return query, key
        return self.norm_q(parts[..., 0, :]), self.norm_k(parts[..., 1, :])

    def fuse(self) -> None:
        """Compute queries, keys and values in one product from now on. Mutates the module: removes `q`, `k` and `v`."""
        parts = [self.q, self.k, self.v]
        with torch.device("meta"):
            self.qkv = nn.Linear(self.dim, 3 * self.dim)
        self.qkv.weight = nn.Parameter(torch.cat([part.weight for part in parts]), requires_grad=False)
        self.qkv.bias = nn.Parameter(torch.cat([part.bias for part in parts]), requires_grad=False)
        self.norm_weights = torch.stack([self.norm_q.weight, self.norm_k.weight]).detach()
        del self.q, self.k, self.v


def modulated_norm(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
    """LayerNorm(x) * scale + shift; one fused call when scale and shift are the same for every token."""
    if scale.ndim == 1:
        return F.layer_norm(x, x.shape[-1:], scale, shift, eps)
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=eps), scale)
