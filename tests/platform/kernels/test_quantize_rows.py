"""The kernel that quantises rows equals its plain form in the interpreter, and compiles for an H100.

The interpreter's conversion to e4m3 drops carries (1.99 becomes 1.0). So in the interpreter the kernel writes float32,
which torch then rounds, or numbers that need no rounding. The compiled kernel uses the hardware's instruction.
"""

import re

import pytest
import torch

from longtake.platform.models.fp8 import E4M3_MAX, SMALLEST, quantize_rows
from tests.platform.kernels.compiled import assembly, interpreted, launched

TYPES = {"x_ptr": "*bf16", "values_ptr": "*fp8e4nv", "scales_ptr": "*fp32", "columns": "i32", "stride": "i32"}
MODULE, KERNEL = "quantize_rows", "quantize_rows_kernel"
CONSTANTS = {"inverse_max": 1 / E4M3_MAX, "smallest": SMALLEST}


def rows(count: int, columns: int) -> torch.Tensor:
    """Rows in bf16 with sizes from 2^-20 to 2^20, and one row of zeros."""
    x = torch.randn(count, columns, generator=torch.Generator().manual_seed(0))
    x *= 2.0 ** torch.linspace(-20, 20, count).unsqueeze(1)
    x[count // 2] = 0
    return x.bfloat16()


@pytest.mark.parametrize("columns", [16, 96, 200])
def test_values_and_scales_are_those_of_the_plain_form(columns):
    """Also for rows that are not adjacent: halves of longer rows."""
    x = rows(7, 2 * columns)[:, :columns]
    values, scales = torch.empty(7, columns), torch.empty(7, 1)
    block = 1 << (columns - 1).bit_length()
    sizes = {"gelu": False, "block": block}
    launched(MODULE, KERNEL, (7,), x, values, scales, columns, x.stride(0), **CONSTANTS, **sizes)
    plain_values, plain_scales = quantize_rows(x)
    assert torch.equal(scales, plain_scales)
    assert torch.equal(values.to(torch.float8_e4m3fn).float(), plain_values.float())


def test_the_launch_returns_e4m3_rows():
    """1, 2, .., 8 and 448 are e4m3 numbers. Times a power of two they stay exact, and that power is the scale."""
    numbers = torch.tensor([1.0, -2, 3, 4, 5, -6, 7, 8, 0, 0, 10, 12, 14, 16, 20, 448])
    x = torch.stack([numbers, numbers * 2**-10]).bfloat16()
    values, scales = interpreted(MODULE, "quantize_rows", x, E4M3_MAX, SMALLEST)
    assert values.dtype == torch.float8_e4m3fn
    assert torch.equal(values.float(), numbers.expand(2, -1))
    assert scales.tolist() == [[1.0], [2**-10]]


def test_gelu_comes_first():
    x = torch.linspace(-8, 8, 160).view(2, 80).bfloat16()
    values, scales = torch.empty(2, 80), torch.empty(2, 1)
    launched(
        "quantize_rows", "quantize_rows_kernel", (2,), x, values, scales, 80, 80, **CONSTANTS, gelu=True, block=128
    )
    exact = torch.nn.functional.gelu(x.double(), approximate="tanh")
    assert (values.double() * scales - exact).abs().max() < 2e-6
    assert (scales.flatten() * E4M3_MAX - exact.abs().amax(1)).abs().max() < 1e-6


@pytest.mark.parametrize(("block", "warps"), [(2048, 4), (16384, 16)])
@pytest.mark.parametrize("gelu", [False, True])
def test_it_compiles_and_rounds_by_the_hardware(block, warps, gelu):
    """It rounds to nearest even and saturates at 448. The scale's reciprocal is correctly rounded."""
    from longtake.platform.kernels.quantize_rows import quantize_rows_kernel

    made = assembly(quantize_rows_kernel, TYPES, CONSTANTS | {"gelu": gelu, "block": block}, warps)
    assert set(re.findall(r"cvt\.\S*e4m3\S*", made["ptx"])) == {"cvt.rn.satfinite.e4m3x2.f32"}
    assert "div.rn.f32" in made["ptx"]
    assert len(made["cubin"]) > 0
