"""Scaled dot-product attention with the fastest kernel that runs, chosen once per device, dtype and head dim.

In half precision on CUDA, a kernel's operator is called directly instead of through torch's dispatcher. This needs no
process-wide setting, which would affect other threads, and `backend` names the kernel that runs. In all other cases
torch's `scaled_dot_product_attention` chooses.

Shapes: B batch, h heads, N queries, M keys, d head dim.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)
HOPPER = (9, 0)


@dataclass(frozen=True)
class Kernel:
    """A kernel's name and its function: query [B, h, N, d], key and value [B, h, M, d] -> [B, h, N, d]."""

    name: str
    call: Callable[[Tensor, Tensor, Tensor], Tensor]


def cudnn(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    out: Tensor = torch.ops.aten._scaled_dot_product_cudnn_attention.default(query, key, value, None, False)[0]
    return out


def flash(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    out: Tensor = torch.ops.aten._scaled_dot_product_flash_attention.default(query, key, value)[0]
    return out


def flash_attn(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    from flash_attn import flash_attn_func

    out: Tensor = flash_attn_func(*(x.transpose(1, 2) for x in (query, key, value)))
    return out.transpose(1, 2)


CUDNN, FLASH, FLASH_ATTN = Kernel("cudnn", cudnn), Kernel("flash", flash), Kernel("flash-attn", flash_attn)
TORCH = Kernel("torch", F.scaled_dot_product_attention)


def candidates(capability: tuple[int, int]) -> list[Kernel]:
    """Kernels to try, fastest first. On Hopper, cuDNN's kernel uses instructions that FlashAttention 2 does not."""
    package = [FLASH_ATTN] if find_spec("flash_attn") else []
    return [CUDNN, *package, FLASH] if capability >= HOPPER else [*package, FLASH, CUDNN]


@cache
def chosen(device: torch.device, dtype: torch.dtype, head_dim: int) -> Kernel:
    """The first candidate that runs with this head dim, or torch's own choice if none does."""
    if device.type != "cuda" or dtype not in HALF:
        return TORCH
    usable = (
        kernel
        for kernel in candidates(torch.cuda.get_device_capability(device))
        if runs(kernel, device, dtype, head_dim)
    )
    return next(usable, TORCH)


def runs(kernel: Kernel, device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Whether the kernel accepts this device, dtype and head dim. Tries it on a few tokens."""
    query, keys = (torch.zeros(1, 2, tokens, head_dim, dtype=dtype, device=device) for tokens in (64, 128))
    try:
        kernel.call(query, keys, keys)
    except (RuntimeError, ImportError):
        return False
    return True


def backend(device: torch.device, dtype: torch.dtype, head_dim: int = 128) -> str:
    """The name of the kernel that `attention` uses: cudnn, flash, flash-attn or torch."""
    return chosen(device, dtype, head_dim).name


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """[B, h, N, d] over [B, h, M, d] -> [B, h, N, d], softmax scale d ** -0.5, no mask."""
    return chosen(query.device, query.dtype, query.shape[-1]).call(query, key, value)
