"""Linear layers in 8 bits, on a CPU, where torch's scaled product is the same operator as on a GPU."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._dynamo.utils import counters

from longtake.platform.backbones.base import prepare_network
from longtake.platform.backbones.pocket import Pocket
from longtake.platform.errors import ConfigError
from longtake.platform.generation.sampler import Sampler
from longtake.platform.machine.resources import Resources
from longtake.platform.methods.native import Native
from longtake.platform.models import fp8
from longtake.platform.models.causal_dit import GELU, CausalDiT
from longtake.platform.models.fp8 import Fp8Linear, quantize_linears, quantize_rows
from tests.platform.rollouts import SPEC, latents, start

WIDE = dataclasses.replace(SPEC, dim=96, ffn_dim=256, layers=6)


def new_network(spec=WIDE):
    torch.manual_seed(0)
    return CausalDiT(spec).eval().requires_grad_(False).bfloat16()


def new_linear(inputs, outputs):
    torch.manual_seed(0)
    linear = nn.Linear(inputs, outputs).bfloat16().requires_grad_(False)
    nn.init.normal_(linear.weight, std=inputs**-0.5)
    return linear


def error(ours, theirs):
    """The relative error, over all numbers together."""
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


def dequantised(linear, x):
    """The result of an Fp8Linear, computed from its 8-bit numbers in wider arithmetic."""
    (values, scales), weight = quantize_rows(x), linear.weight.double() * linear.weight_scale.double().t()
    return (values.double() * scales) @ weight.t() + linear.bias.double()


def test_a_row_is_scaled_by_its_largest_number():
    """The largest becomes 448: 896 / 448 = 2, 7 / 448 = 1 / 64. Between 8 and 16, e4m3 has whole numbers: 19 / 2 = 9.5
    is half way between 9 and 10, of which 10 is even. 1.75 times 64 is 112."""
    values, scales = quantize_rows(torch.tensor([[896.0, -19.0, 4.0], [1.75, -7.0, 0.0], [0.0, 0.0, 0.0]]))
    assert scales.flatten()[:2].tolist() == pytest.approx([2.0, 1 / 64])
    assert values.float().tolist() == [[448.0, -10.0, 2.0], [112.0, -448.0, 0.0], [0.0, 0.0, 0.0]]


def test_a_number_that_is_none_stays_none():
    values, _ = quantize_rows(torch.tensor([[1.0, float("nan")], [1.0, 2.0]]))
    assert values.float()[0].isnan().all()
    assert not values.float()[1].isnan().any()


@pytest.mark.parametrize(("inputs", "outputs"), [(1536, 1536), (1536, 8960), (8960, 1536)])
def test_the_product_is_that_of_the_quantised_numbers(inputs, outputs):
    """Except for the rounding of the result to bf16, at most 2^-8 of a number."""
    linear, x = Fp8Linear(new_linear(inputs, outputs)), torch.randn(2, 3, inputs).bfloat16()
    ours, theirs = linear(x), dequantised(linear, x.flatten(0, 1)).view(2, 3, outputs)
    assert ours.dtype == torch.bfloat16
    assert (ours - theirs).abs().max() <= 1.01 * 2**-8 * theirs.abs().max()


def test_what_8_bits_cost_one_layer():
    """A number of 4 significant bits has an error of 2.6 % (root mean square), a product of two 3.7 %."""
    linear, x = new_linear(1536, 1536), torch.randn(64, 1536).bfloat16()
    exact = F.linear(x.double(), linear.weight.double(), linear.bias.double())
    assert error(linear(x), exact) == pytest.approx(0.0017, abs=2e-4)
    assert error(Fp8Linear(linear)(x), exact) == pytest.approx(0.0373, abs=2e-3)


def test_gelu_in_the_quantisation_is_gelu_before_it():
    linear, x = new_linear(256, 96), torch.randn(32, 256).bfloat16()
    ours, theirs = Fp8Linear(linear, gelu=True)(x), Fp8Linear(linear)(F.gelu(x.float(), approximate="tanh"))
    assert error(ours, theirs) < 1e-6


def test_every_linear_layer_of_a_block_but_keys_and_values_of_the_text():
    network = quantize_linears(new_network())
    expected = [f"self_attn.{name}" for name in "qkvo"] + ["cross_attn.q", "cross_attn.o", "ffn.0", "ffn.2"]
    for layer in network.blocks:
        kinds = {path: type(module) for path, module in layer.named_modules()}
        assert [path for path, kind in kinds.items() if kind is Fp8Linear] == expected
        assert [path for path, kind in kinds.items() if kind is nn.Linear] == ["cross_attn.k", "cross_attn.v"]
        assert GELU not in kinds.values()
        assert layer.ffn[2].gelu
        assert not layer.ffn[0].gelu
    outside = [path for path, module in network.named_modules() if isinstance(module, Fp8Linear)]
    assert all(path.startswith("blocks.") for path in outside)


def test_any_name_of_a_linear_layer_will_do():
    network = new_network()
    for layer in network.blocks:
        layer.self_attn.qkv = nn.Linear(96, 288).bfloat16()
        layer.cross_attn.kv = nn.Linear(96, 192).bfloat16()
    layer = quantize_linears(network).blocks[0]
    assert isinstance(layer.self_attn.qkv, Fp8Linear)
    assert isinstance(layer.cross_attn.kv, nn.Linear)


def test_what_8_bits_cost_a_rollout():
    """Random weights, 6 layers, 8 blocks. Against float32, bf16 differs by 0.43 % of the latents, fp8 by 1.1 %. Without
    GELU the error would be of the order of 1."""
    exact = latents(start(new_network().float(), Native()), 8)
    half = error(latents(start(new_network(), Native()), 8), exact)
    eight = error(latents(start(quantize_linears(new_network()), Native()), 8), exact)
    assert half == pytest.approx(0.0043, abs=1e-3)
    assert eight == pytest.approx(0.0110, abs=3e-3)


@pytest.mark.slow
def test_compiled_it_is_the_same_and_compiled_once():
    """Three pieces, as in bf16: the product does not break a graph, and all layers share the pieces."""
    torch._dynamo.reset()
    counters.clear()
    compiled = quantize_linears(new_network()).compile_parts("aot_eager")
    ours, theirs = (latents(start(net, Native()), 5) for net in (compiled, quantize_linears(new_network())))
    assert error(ours, theirs) < 0.01
    assert counters["stats"]["unique_graphs"] == 3
    assert not counters["graph_break"]
    assert not counters["recompiles"]
    torch._dynamo.reset()


def test_what_cannot_be_in_8_bits_is_refused():
    with pytest.raises(
        ConfigError, match=r"workers.precision: 'fp8' needs a network in bf16, this one is in torch.floa"
    ):
        quantize_linears(new_network().float())
    with pytest.raises(ConfigError, match=r"multiples of 16, but dim is 24; set bf16"):
        quantize_linears(new_network(SPEC))
    with pytest.raises(ConfigError, match=r"'fp8' needs a CUDA device, but this is cpu; set bf16 or null"):
        prepare_network(new_network(), Resources("cpu", precision="fp8"))


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_a_sampler_refuses_before_it_reads_weights(precision, monkeypatch, tmp_path):
    monkeypatch.setattr(Pocket, "weights_file", lambda: tmp_path / "none")
    with pytest.raises(ConfigError, match=f"'{precision}' needs a backbone .* in bf16, but pocket computes in float32"):
        Sampler("pocket", Resources("cpu", precision=precision))


def test_a_gpu_that_is_too_old_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A100")
    with pytest.raises(ConfigError, match=r"needs compute capability 8.9, but A100 has 8.0; set bf16 or null"):
        fp8.check_device(torch.device("cuda", 0))
