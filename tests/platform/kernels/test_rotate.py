"""The rotation kernel equals `rope.rotate`, from and to any strides, and compiles for an H100."""

import pytest
import torch

from longtake.platform.models.rope import rotate
from tests.platform.kernels.compiled import cubin_bytes, interpreted


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("tokens", "heads", "dim"), [(40, 3, 128), (5, 2, 12), (64, 1, 64)])
def test_it_is_the_plain_rotation(dtype, tokens, heads, dim):
    """Queries are part of a product three times as wide; keys go to a slice of a longer buffer of all layers."""
    torch.manual_seed(0)
    wide = torch.randn(2, tokens, 3, heads, dim).to(dtype)
    buffer = torch.full((2, heads, tokens + 7, dim), 9.0, dtype=dtype)
    angles = torch.randn(2, tokens, dim // 2) * 50
    turns = torch.stack([angles.cos(), angles.sin()], dim=-1)
    for rotation in (turns, turns[:1]):
        interpreted("rotate", "rotate_into", wide[:, :, 1], rotation, buffer[:, :, 4 : 4 + tokens])
        plain = rotate(wide[:, :, 1], rotation).transpose(1, 2)
        # float32: the products of a pair round in another order; bf16: a number near the middle may round either way
        near = 1e-6 * plain.abs().max() if dtype == torch.float32 else 2**-7 * plain.abs().max()
        assert (buffer[:, :, 4 : 4 + tokens].float() - plain.float()).abs().max() <= near
    assert (buffer[:, :, :4] == 9).all()
    assert (buffer[:, :, 4 + tokens :] == 9).all()


def test_a_layout_that_it_cannot_read_is_refused():
    x, turn, out = torch.zeros(1, 4, 2, 8), torch.zeros(1, 4, 4, 2), torch.zeros(1, 2, 4, 8)
    with pytest.raises(ValueError, match="must be contiguous"):
        interpreted("rotate", "rotate_into", x.transpose(2, 3), turn, out)
    with pytest.raises(ValueError, match="must be contiguous"):
        interpreted("rotate", "rotate_into", x, turn.transpose(1, 2), out)


@pytest.mark.parametrize("kind", ["bf16", "fp32"])
@pytest.mark.parametrize("dim", [128, 64])
def test_it_compiles_for_an_h100(kind, dim):
    from longtake.platform.kernels.rotate import rotate_kernel

    types = {"x": f"*{kind}", "rotation": "*fp32", "out": f"*{kind}", "tokens": "i32"}
    types |= dict.fromkeys(("x_row", "x_token", "x_head", "rotation_row", "out_row", "out_token", "out_head"), "i32")
    assert cubin_bytes(rotate_kernel, types, {"DIM": dim, "PAIRS": dim // 2, "TOKENS": 32}) > 0
