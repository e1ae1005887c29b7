"""The fused norm of the VAE equals the plain form in the interpreter, and compiles for an H100.

The interpreter truncates float32 to bfloat16, the hardware rounds to the nearest. So a result in the interpreter may be
one step off (2^-7 of the smallest number of its size), or two if the sum is written back, hence converted twice.
"""

import importlib

import pytest
import torch

from longtake.platform.models.vae.conv import FORMATS
from longtake.platform.models.vae.norm import norm_silu_for, plain_norm_silu
from tests.platform.kernels.compiled import assembly, cubin_bytes, interpreted

LAYOUTS = ["channels-last", "contiguous"]
TERMS = ["alone", "bias", "kept", "residual"]
needs_cuda = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def case(layout, terms, dtype, shape=(1, 12, 2, 5, 7), device="cpu"):
    """Arguments of a norm, from one seed: `out` is the end of a buffer, and the residual has its own layout."""
    generator = torch.Generator().manual_seed(0)
    memory_format = FORMATS[layout][5]

    def draw(*size):
        return torch.randn(size, generator=generator)

    x = draw(*shape).to(device, dtype).contiguous(memory_format=memory_format)
    x[:, :, -1, 0, 0] = 0  # the length of this pixel is zero
    frames = (1, shape[1], shape[2] + 2, *shape[3:])
    buffer = torch.full(frames, 9.0).to(device, dtype).contiguous(memory_format=memory_format)
    given = {"x": x, "weight": draw(shape[1]).to(device), "out": buffer[:, :, 2:]}
    if terms != "alone":
        given["bias"] = draw(shape[1]).to(device, dtype)
    if terms == "residual":  # the layout of a stack of pictures
        given["residual"] = draw(shape[2], shape[1], *shape[3:]).to(device, dtype).transpose(0, 1)[None]
    return given | {"keep": terms in ("kept", "residual")}, buffer


def hold_to_plain(norm_silu, layout, terms, dtype, steps, **where):
    """`steps`: how many steps of bfloat16 a value may be off."""
    given, buffer = case(layout, terms, dtype, **where)
    expected, expected_buffer = case(layout, terms, dtype, **where)
    before = given["x"].clone()
    norm_silu(**given)
    plain_norm_silu(**expected)
    near = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": steps * 2**-7, "atol": 1e-6}
    torch.testing.assert_close(buffer, expected_buffer, **near)
    torch.testing.assert_close(given["x"], expected["x"], **near)
    assert torch.equal(given["x"], before) == (not given["keep"])
    assert (buffer[:, :, :2] == 9).all()  # the history before it is not changed


def in_interpreter(x, weight, out, bias=None, residual=None, keep=False):
    interpreted("norm_silu", "norm_silu", x, weight, out, bias, residual, keep)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_kernel_equals_the_plain_form(layout, terms, dtype):
    hold_to_plain(in_interpreter, layout, terms, dtype, steps=2)


def test_the_kernel_with_more_pixels_than_a_tile():
    """600 channels need 1024 lanes, so a channels-last tile has 4 of the 15 pixels."""
    from longtake.platform.kernels.norm_silu import tile_of

    assert tile_of(600, channels_last=True)["BLOCK_PIXELS"] == 4
    hold_to_plain(in_interpreter, "channels-last", "residual", torch.float32, steps=0, shape=(1, 600, 1, 3, 5))


def test_the_plain_form_by_hand():
    """x = (2, 1) + bias (1, 0) + residual (0, 3) = (3, 4), length 5; times (5, 10) / 5 is (3, 8)."""
    x = torch.tensor([2.0, 1.0]).view(1, 2, 1, 1, 1)
    out = torch.empty_like(x)
    residual = torch.tensor([0.0, 3.0]).view(1, 2, 1, 1, 1)
    plain_norm_silu(x, torch.tensor([5.0, 10.0]), out, torch.tensor([1.0, 0.0]), residual, keep=True)
    assert x.flatten().tolist() == [3, 4]
    # silu(3) = 3 / (1 + e^-3) = 2.857722, silu(8) = 8 / (1 + e^-8) = 7.997317
    torch.testing.assert_close(out.flatten(), torch.tensor([2.857722, 7.997317]))


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("channels", [96, 192, 384])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_compiles_for_an_h100(layout, channels, dtype):
    assert cubin_bytes(**program(layout, channels, dtype, ADD_BIAS=True, ADD_RESIDUAL=True, KEEP=True)) > 1000


def test_it_compiles_without_a_residual_and_rounds_to_the_nearest():
    made = assembly(**program("channels-last", 96, "bf16", ADD_BIAS=True, ADD_RESIDUAL=False, KEEP=False))
    assert "cvt.rn.bf16" in made["ptx"]


def program(layout, channels, dtype, **flags):
    """The compiled program of a norm with published channel counts."""
    module = importlib.import_module("longtake.platform.kernels.norm_silu")
    last, names = layout == "channels-last", ["x", "residual", "out"]
    tile = module.tile_of(channels, last)
    warps = tile.pop("num_warps")
    # The stride of the contiguous dimension is 1, which Triton turns into a constant at launch.
    ones = {f"{name}_{'channel' if last else 'pixel'}": 1 for name in names}
    strides = [f"{name}_{axis}" for name in names for axis in ("channel", "frame", "pixel")]
    types = dict.fromkeys([*names, "bias"], f"*{dtype}") | {"weight": "*fp32", "pixels": "i32"}
    types |= {name: "i32" for name in strides if name not in ones}
    constants = {**ones, "CHANNELS": channels, **tile, **flags}
    return {"kernel": module.norm_silu_kernel, "types": types, "constants": constants, "warps": warps}


def test_operands_that_do_not_fit_are_refused():
    norm_silu = in_interpreter
    given, _ = case("contiguous", "bias", torch.float32)
    with pytest.raises(ValueError, match="do not follow each other in memory"):
        norm_silu(**given | {"x": given["x"].transpose(3, 4).contiguous().transpose(3, 4)})
    with pytest.raises(ValueError, match="does not match"):
        norm_silu(**given | {"out": given["out"][:, :, :1]})
    with pytest.raises(ValueError, match="vectors of 12 values"):
        norm_silu(**given | {"bias": given["bias"][:5]})
    with pytest.raises(ValueError, match="float64, not float32"):
        norm_silu(**given | {"weight": given["weight"].double()})


def test_a_cpu_runs_the_plain_form():
    assert norm_silu_for(torch.device("cpu")) == ("torch", plain_norm_silu)


def test_a_cuda_device_runs_the_kernel_where_triton_is():
    name, norm_silu = norm_silu_for(torch.device("cuda"))
    assert (name, norm_silu.__module__) == ("triton", "longtake.platform.kernels.norm_silu")


class TestOnCuda:
    pytestmark = needs_cuda

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    @pytest.mark.parametrize("terms", TERMS)
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("channels", [96, 192, 384])
    def test_the_kernel_equals_the_plain_form(self, channels, layout, terms, dtype):
        name, norm_silu = norm_silu_for(torch.device("cuda"))
        assert name == "triton"
        # One step: sums over channels in another order may round to different sides.
        hold_to_plain(norm_silu, layout, terms, dtype, steps=1, shape=(1, channels, 4, 30, 52), device="cuda")
