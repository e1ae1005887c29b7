"""The operators of one layer of Wan 1.3B, each in the form that Longtake uses and in alternative forms.

Shapes: n = 4680 query tokens of a block, m = 18720 keys of a window of 12 frames, d = 1536 dim, f = 8960 feed-forward.
Inputs of repeated calls may stay in the device's cache, so rates of small operators can exceed its memory bandwidth.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.gpu.clock import device_ms
from tests.gpu.kernel_table import class_of, kernels_of, short, totals
from tests.gpu.report import Report
from tests.gpu.setting import COMPILER, DEVICE, DTYPE, on_gpu, sized


@dataclass(frozen=True)
class Sizes:
    queries: int
    keys: int
    text: int
    heads: int
    dim: int
    ffn: int


SIZES = sized(Sizes(4680, 18720, 512, 12, 1536, 8960), Sizes(64, 256, 32, 2, 96, 128))
random = partial(torch.randn, device=DEVICE, dtype=DTYPE)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=False, backend=COMPILER)


def attention_inputs(keys: int) -> tuple[Tensor, Tensor, Tensor]:
    """Query as in the network, a view of [B, N, h, d]; keys and values [B, h, M, d]."""
    head = SIZES.dim // SIZES.heads
    query = random(1, SIZES.queries, SIZES.heads, head).transpose(1, 2)
    return query, random(1, SIZES.heads, keys, head), random(1, SIZES.heads, keys, head)


def self_attention(report: Report) -> None:
    """Every available implementation, and the one that Longtake selects, with the name of its kernel."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from longtake.platform.models.attention import TORCH, attention, candidates

    inputs = attention_inputs(SIZES.keys)
    tflop = 4 * SIZES.queries * SIZES.keys * SIZES.dim / 1e12

    def through(backend: SDPBackend) -> Tensor:
        with sdpa_kernel([backend]):
            return F.scaled_dot_product_attention(*inputs)

    for name in ("EFFICIENT_ATTENTION",) if on_gpu() else ("MATH",):
        one = partial(through, getattr(SDPBackend, name))
        report.measure(f"self-attention, {name}", partial(device_ms, one), tflop)
    with torch.inference_mode():
        for kernel in candidates(torch.cuda.get_device_capability(DEVICE)) if on_gpu() else [TORCH]:
            report.measure(f"self-attention, {kernel.name}", partial(device_ms, partial(kernel.call, *inputs)), tflop)
        report.measure("self-attention, as the code does", lambda: device_ms(lambda: attention(*inputs)), tflop)
        with report.guard("self-attention, kernel"):
            longest, *_ = totals(kernels_of(lambda: attention(*inputs))[0], str)[0]
            report.row("self-attention, longest kernel", short(longest), "", class_of(longest))


def cross_attention(report: Report) -> None:
    from longtake.platform.models.attention import attention

    inputs, tflop = attention_inputs(SIZES.text), 4 * SIZES.queries * SIZES.text * SIZES.dim / 1e12
    report.measure("cross-attention, as the code does", lambda: device_ms(lambda: attention(*inputs)), tflop)


def linears(report: Report) -> None:
    n, d, f = SIZES.queries, SIZES.dim, SIZES.ffn
    shapes = {"q, k, v or o": (d, d), "q, k, v as one": (d, 3 * d), "ffn up": (d, f), "ffn down": (f, d)}
    for name, (inner, outer) in shapes.items():
        x, weight, bias = random(n, inner), random(outer, inner) * inner**-0.5, random(outer)
        tflop = 2 * n * inner * outer / 1e12
        report.measure(f"linear {name}", partial(device_ms, partial(F.linear, x, weight, bias)), tflop)
        twice = partial(
            F.linear, torch.cat([x, x]), weight, bias
        )  # a commit pass merged with the first pass of the next block
        report.measure("   of twice as many rows", partial(device_ms, twice), 2 * tflop)
        if on_gpu():
            scaled_linears(report, x, weight, bias, tflop)


def scaled_linears(report: Report, x: Tensor, weight: Tensor, bias: Tensor, tflop: float) -> None:
    """The same product in fp8, with a scale per row or per tensor, on inputs that are already quantised."""
    left, right = x.to(torch.float8_e4m3fn), weight.to(torch.float8_e4m3fn).t()
    ones = partial(torch.ones, device=DEVICE)
    scales = {"row": (ones(len(x), 1), ones(1, len(weight))), "tensor": (ones(()), ones(()))}
    product_of = partial(torch._scaled_mm, left, right, bias=bias, out_dtype=DTYPE, use_fast_accum=True)
    for name, (of_left, of_right) in scales.items():
        product = partial(product_of, scale_a=of_left, scale_b=of_right)
        report.measure(f"   in fp8, a scale per {name}", partial(device_ms, product), tflop)


def activation(report: Report) -> None:
    """GELU after the product, and as part of it."""
    from longtake.platform.models.layers import linear_gelu

    n, d, f = SIZES.queries, SIZES.dim, SIZES.ffn
    x, weight, bias, tflop = random(n, d), random(f, d) * d**-0.5, random(f), 2 * n * d * f / 1e12

    def apart() -> Tensor:
        return F.gelu(F.linear(x, weight, bias), approximate="tanh")

    report.measure("ffn up, then gelu", partial(device_ms, apart), tflop)
    fused = partial(linear_gelu, x, weight, bias)
    report.measure("ffn up with gelu in the product", partial(device_ms, fused), tflop)
    report.measure("ffn up, then gelu, compiled", partial(device_ms, compiled(apart)), tflop)
    with report.guard("gelu in the product: difference"):
        away = (fused() - apart()).abs().max().item()
        report.row("gelu in the product: largest difference", away, "", "from the tanh form apart")


def pointwise(report: Report) -> None:
    """Operators limited by memory. The rate counts every input read once and every output written once."""
    from longtake.platform.models.fp8 import quantize_rows, quantize_tokens

    x, wide = random(SIZES.queries, SIZES.dim), random(SIZES.queries, SIZES.ffn)
    row, gbyte = x[0].clone(), x.nbytes / 1e9
    norm, shape = partial(F.layer_norm, x, x.shape[-1:]), x.shape[-1:]
    for name, call, moved in (
        ("gelu alone", partial(F.gelu, wide, approximate="tanh"), 2 * wide.nbytes / 1e9),
        ("layer norm, scale and shift", partial(norm, row, row), 2 * gbyte),
        ("rms norm", partial(F.rms_norm, x, shape, row, 1e-6), 2 * gbyte),
        ("residual and gate (addcmul)", partial(torch.addcmul, x, row, x), 3 * gbyte),
        ("rows to fp8, as the code does", partial(quantize_tokens, x, False), 1.5 * gbyte),
        ("gelu and rows to fp8, as the code does", partial(quantize_tokens, wide, True), 1.5 * wide.nbytes / 1e9),
        ("rows to fp8, compiled", partial(compiled(quantize_rows), x), 1.5 * gbyte),
    ):
        report.measure(name, partial(device_ms, call), gbyte=moved)


def rotation(report: Report) -> None:
    from longtake.platform.models import rope

    n, heads, head = SIZES.queries, SIZES.heads, SIZES.dim // SIZES.heads
    x, gbyte = random(1, n, heads, head), 2 * n * SIZES.dim * DTYPE.itemsize / 1e9
    turn = torch.randn(1, n, head // 2, 2, device=DEVICE)
    buffer = random(1, heads, SIZES.keys, head)
    with torch.inference_mode():
        for name, call in (
            ("rotation of queries, as the code does", partial(rope.rotated, x, turn)),
            (
                "rotation of keys into the context, as the code does",
                partial(rope.rotate_into, x, turn, buffer[:, :, :n]),
            ),
            ("rotation, plain", partial(rope.rotate, x, turn)),
            ("copy into the context", partial(buffer[:, :, :n].copy_, x.transpose(1, 2))),
        ):
            report.measure(name, partial(device_ms, call), gbyte=gbyte)


def norms(report: Report) -> None:
    """Norms of queries and keys, read from their joint product with the values."""
    from longtake.platform.models.layers import Attention

    attention = Attention(SIZES.dim, SIZES.heads, 1e-6).to(DEVICE, DTYPE).requires_grad_(False)
    attention.fuse()
    parts = random(1, SIZES.queries, 3, SIZES.dim)[:, :, :2]
    with torch.inference_mode():
        normed = partial(attention.normed, parts)
        report.measure("norms of q and k, as the code does", partial(device_ms, normed), gbyte=2 * parts.nbytes / 1e9)


def main() -> int:
    report = Report("kernels")
    for part in (self_attention, cross_attention, linears, activation, pointwise, norms, rotation):
        with report.guard(part.__name__):
            part(report)
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
