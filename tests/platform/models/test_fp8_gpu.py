"""Linear layers in 8 bits on a GPU: the quantising kernel, the product on tensor cores, and both compiled."""

import pytest
import torch
from torch._dynamo.utils import counters

from longtake.platform.kernels import has_triton
from longtake.platform.methods.native import Native
from longtake.platform.models import fp8
from longtake.platform.models.fp8 import E4M3_MAX, SMALLEST, Fp8Linear, quantize_linears, quantize_rows
from tests.platform.models.test_fp8 import dequantised, error, new_linear, new_network
from tests.platform.rollouts import latents, start

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = torch.device("cuda", 0)


def on_gpu():
    """Place a network on the GPU as a backbone does."""
    return new_network().to(CUDA).lay_out()


def tokens(columns, rows=4680):
    x = torch.randn(rows, columns, device=CUDA, generator=torch.Generator(CUDA).manual_seed(0))
    x *= 2.0 ** torch.linspace(-20, 20, rows, device=CUDA).unsqueeze(1)
    x[rows // 2] = 0
    return x.bfloat16()


@pytest.mark.parametrize("columns", [96, 1536, 8960])
def test_the_kernel_is_the_plain_form(columns):
    """Bit for bit: a maximum, two correctly rounded operations and one rounding to nearest even."""
    from longtake.platform.kernels import quantize_rows as kernel

    assert has_triton()
    x = tokens(2 * columns)[:, :columns]
    values, scales = kernel.quantize_rows(x, E4M3_MAX, SMALLEST)
    plain_values, plain_scales = quantize_rows(x)
    assert torch.equal(scales, plain_scales)
    assert torch.equal(values.float(), plain_values.float())


def test_gelu_in_the_kernel_is_that_of_the_plain_form():
    """The exponential has an error of a few units in the last place of float32, so one number in thousands rounds to
    the neighbouring e4m3 number, at most a step of 2^-3 away."""
    from longtake.platform.kernels import quantize_rows as kernel

    x = 3 * torch.randn(4680, 8960, device=CUDA, generator=torch.Generator(CUDA).manual_seed(0)).bfloat16()
    values, scales = kernel.quantize_rows(x, E4M3_MAX, SMALLEST, gelu=True)
    plain_values, plain_scales = quantize_rows(x, gelu=True)
    assert torch.allclose(scales, plain_scales, rtol=1e-5, atol=0)
    ours, theirs = values.float(), plain_values.float()
    assert (ours != theirs).float().mean() < 1e-3
    assert ((ours - theirs).abs() <= 2**-3 * theirs.abs() + 2**-9).all()


@pytest.mark.parametrize(("inputs", "outputs", "most"), [(1536, 1536, 0.01), (1536, 8960, 0.01), (8960, 1536, 0.03)])
def test_the_product_is_that_of_the_quantised_numbers(inputs, outputs, most):
    """Fast accumulation keeps about 13 fractional bits of the running sum, over K / 32 steps. Truncation in each step
    gives an error of up to K / 32 * 2^-13 of the sum (0.6 % for 1536, 3.4 % for 8960), on average a third of that,
    since the sum grows. Rounding to bf16 adds 0.17 %. A wrong scale, layout or bias would give tens of percent."""
    linear = Fp8Linear(new_linear(inputs, outputs)).to(CUDA)
    x = torch.randn(4680, inputs, device=CUDA, generator=torch.Generator(CUDA).manual_seed(0)).bfloat16()
    ours, theirs = linear(x), dequantised(linear, x)
    assert ours.dtype == torch.bfloat16
    assert error(ours, theirs) < most


def test_a_rollout_stays_near_bf16():
    """On a CPU the two differ by 1.05 % of the latents. A GPU adds its own rounding and fast accumulation."""
    half, eight = on_gpu(), quantize_linears(on_gpu())
    ours, theirs = (latents(start(net, Native()), 8).cpu() for net in (eight, half))
    assert 0.001 < error(ours, theirs) < 0.03


def test_compiled_it_is_the_same_and_compiled_once():
    """Inductor fuses the plain form with preceding code, so numbers half way between two may round differently."""
    torch._dynamo.reset()
    counters.clear()
    compiled = quantize_linears(on_gpu()).compile_parts()
    ours, theirs = (latents(start(n, Native()), 8) for n in (compiled, quantize_linears(on_gpu())))
    assert error(ours, theirs) < 0.02
    assert counters["stats"]["unique_graphs"] == 3
    assert not counters["graph_break"]


def test_this_gpu_multiplies_in_8_bits():
    fp8.check_device(CUDA)
