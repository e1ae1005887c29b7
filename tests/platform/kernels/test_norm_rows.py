"""The norm of queries and keys in a joint product equals torch's RMS norm of each, and compiles for an H100."""

import pytest
import torch
import torch.nn.functional as F

from tests.platform.kernels.compiled import cubin_bytes, interpreted


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dim", [24, 1536])
def test_it_is_the_rms_norm_of_each_part(dtype, dim):
    torch.manual_seed(0)
    wide, weights = torch.randn(5, 3, dim).to(dtype), torch.randn(2, dim).to(dtype)
    out = interpreted("norm_rows", "norm_rows", wide[:, :2], weights, 1e-6)
    assert out.shape == (2, 5, dim)
    for part in range(2):
        exact = F.rms_norm(wide[:, part].double(), (dim,), weights[part].double(), 1e-6)
        # bf16 has 8 bits, and the interpreter truncates where a GPU rounds: less than the last bit, 2 ** -7 of a number
        near = 1e-6 * exact.abs().max() if dtype == torch.float32 else 2**-7 * exact.abs()
        assert ((out[part].double() - exact).abs() <= near + 1e-30).all()


def test_by_hand():
    """(3, 4): mean of squares 12.5, so 3 / sqrt(12.5) = .8485 and 4 / sqrt(12.5) = 1.1314; weights 1 and 10."""
    out = interpreted("norm_rows", "norm_rows", torch.tensor([[[3.0, 4.0]]]), torch.tensor([[1.0, 10.0]]), 0.0)
    assert out.flatten().tolist() == pytest.approx([0.8485, 11.314], abs=1e-3)


def test_it_compiles_for_an_h100():
    from longtake.platform.kernels.norm_rows import norm_rows_kernel

    types = {"x": "*bf16", "weight": "*bf16", "out": "*bf16", "rows": "i32"}
    types |= {"row_stride": "i32", "part_stride": "i32", "eps": "fp32"}
    assert cubin_bytes(norm_rows_kernel, types, {"DIM": 1536, "WIDTH": 2048}) > 0
