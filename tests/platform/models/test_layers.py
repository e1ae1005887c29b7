"""The fast forms of a layer on a GPU compute the same as the plain ones."""

import copy

import pytest
import torch
import torch.nn.functional as F

from longtake.platform.methods.native import Native
from longtake.platform.models.layers import Attention, FeedForward, linear_gelu
from tests.platform.rollouts import latents, new_network, start


def fused(network):
    network = copy.deepcopy(network)
    for layer in network.layers():
        layer.self_attn.fuse()
    return network


def test_one_product_of_queries_keys_and_values_is_the_three():
    torch.manual_seed(0)
    plain = Attention(24, 2, 1e-6).requires_grad_(False)
    plain.norm_q.weight.data.normal_()
    one = copy.deepcopy(plain)
    one.fuse()
    assert sum(value.numel() for value in one.parameters()) == sum(value.numel() for value in plain.parameters())
    x = torch.randn(2, 30, 24)
    for ours, theirs in zip(one.query_key_value(x), plain.query_key_value(x), strict=True):
        assert ours.shape == (2, 30, 2, 12)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("backend", [None, "aot_eager"])
def test_a_fused_network_makes_the_same_latents(backend):
    """Six blocks, 30 passes: sums of 24 products in another order differ by 1e-7 each."""
    network = fused(new_network())
    if backend:
        torch._dynamo.reset()
        network.compile_parts(backend)
    difference = latents(start(network, Native()), 6) - latents(start(new_network(), Native()), 6)
    assert difference.abs().max() < 1e-5


def test_the_activation_in_the_product_is_the_tanh_form():
    """x = 1, weight 1, bias .5: GELU(1.5) = .75 (1 + tanh(.79788 (1.5 + .044715 * 3.375))) = 1.39957."""
    made = linear_gelu(torch.ones(1, 1), torch.ones(1, 1), torch.tensor([0.5]))
    assert made.item() == pytest.approx(1.39957, abs=1e-5)


def test_torchs_own_operator_has_another_form_on_a_cpu():
    """It is used on CUDA only: on a CPU it is the erf form, which differs from the tanh form by up to 5e-4."""
    x, weight, bias = torch.linspace(-4, 4, 1001)[:, None], torch.ones(1, 1), torch.zeros(1)
    theirs = torch._addmm_activation(bias, x, weight.t(), use_gelu=True)
    torch.testing.assert_close(theirs, F.gelu(x), rtol=0, atol=1e-6)
    assert (theirs - linear_gelu(x, weight, bias)).abs().max() > 3e-4


def test_the_product_with_its_activation_stays_whole_under_a_compiler():
    torch.manual_seed(0)
    feed_forward, x = FeedForward(8, 32).requires_grad_(False), torch.randn(2, 5, 8)
    up, _, down = feed_forward
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: down(linear_gelu(x, up.weight, up.bias)), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), feed_forward(x), rtol=0, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_gpu_the_activation_in_the_product_is_the_tanh_form(dtype):
    """float32: the erf form would be 4.7e-4 away. bf16: the plain form rounds once more, 2 ** -8 of up to 6."""
    torch.manual_seed(0)
    x, weight, bias = torch.randn(300, 64), torch.randn(256, 64) / 8, torch.randn(256)
    exact = F.gelu(F.linear(x.double(), weight.double(), bias.double()), approximate="tanh")
    ours = linear_gelu(*(t.to("cuda", dtype) for t in (x, weight, bias))).cpu().double()
    assert (ours - exact).abs().max() < (1e-4 if dtype == torch.float32 else 0.06)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_gpu_the_kernels_are_the_plain_forms(dtype):
    """Rotation and norms at the sizes of Wan 1.3B, against float64 on the CPU."""
    from longtake.platform.kernels.norm_rows import norm_rows
    from longtake.platform.models import rope

    torch.manual_seed(0)
    wide, weights = torch.randn(4680, 3, 1536).to(dtype), torch.randn(2, 1536).to(dtype)
    normed = norm_rows(wide.cuda()[:, :2], weights.cuda(), 1e-6).cpu().double()
    for part in range(2):
        exact = F.rms_norm(wide[:, part].double(), (1536,), weights[part].double(), 1e-6)
        near = 1e-6 * exact.abs().max() if dtype == torch.float32 else 2**-8 * exact.abs()
        assert ((normed[part] - exact).abs() <= near + 1e-12).all()
    x, angles = wide[None, :, 2].unflatten(-1, (12, 128)), torch.randn(1, 4680, 64) * 50
    turn = torch.stack([angles.cos(), angles.sin()], dim=-1)
    ours = rope.rotated(x.cuda(), turn.cuda()).cpu().double()
    exact = rope.rotate(x.float(), turn).transpose(1, 2).double()
    assert (ours - exact).abs().max() < (1e-5 if dtype == torch.float32 else 2**-8 * exact.abs().max())
