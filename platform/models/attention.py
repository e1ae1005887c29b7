"""Scaled dot-product attention over whatever implementation is there: flash-attn, else torch's own.

flash-attn is used for half precision on CUDA when the package is installed; torch is told to take cuDNN's or its own
flash kernel there and never the one that writes the whole score matrix. What ran is named by `backend`.
"""

from functools import cache
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


@cache
def has_flash_attn() -> bool:
    return find_spec("flash_attn") is not None


def backend(device: torch.device, dtype: torch.dtype) -> str:
    """Which implementation `attention` uses for tensors of this device and dtype."""
    if device.type != "cuda" or dtype not in HALF:
        return "torch"
    return "flash-attn" if has_flash_attn() else "torch-cudnn-or-flash"


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """[B, h, N, d] over [B, h, M, d] -> [B, h, N, d], softmax scale d ** -0.5, no mask."""
    kind = backend(query.device, query.dtype)
    if kind == "flash-attn":
        from flash_attn import flash_attn_func

        return flash_attn_func(*(x.transpose(1, 2) for x in (query, key, value))).transpose(1, 2)
    if kind == "torch":
        return F.scaled_dot_product_attention(query, key, value)
    from torch.nn.attention import SDPBackend, sdpa_kernel

    kernels = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
    with sdpa_kernel(kernels, set_priority=True):
        return F.scaled_dot_product_attention(query, key, value)
