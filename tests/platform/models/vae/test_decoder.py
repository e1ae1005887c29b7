"""Our decoder gives the frames of Wan2.1's own code, in every memory layout and for every split of the video."""

import gc
import json
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from longtake.platform.models.vae.conv import arrange_weights, enlarged
from longtake.platform.models.vae.decoder import StreamingDecoder
from longtake.platform.models.vae.norm import plain_norm_silu
from longtake.platform.models.vae.wan import WAN_VAE_CONFIG, WanDecoder, random_vae, vae_from_original
from tests.platform.models.vae.small_vae import one_shot, original_state, small_config

GOLDEN = Path(__file__).parents[3] / "golden" / "wan" / "vae_wan21_a"
LAYOUTS = ["channels-last", "contiguous"]
SPLITS = [(4,), (1, 1, 1, 1), (1, 3), (3, 1), (2, 0, 2)]
H, W = 480, 832


@pytest.fixture(scope="module")
def wide():
    """32 channels at full size, 128 at the smallest: a third of the published widths."""
    return random_vae(small_config(32))


@pytest.fixture(scope="module")
def golden():
    """Weights of a Wan2.1 decoder (without the encoder), latents, and the frames of Wan2.1's code."""
    facts, tensors = json.loads(GOLDEN.with_suffix(".json").read_text()), load_file(GOLDEN.with_suffix(".safetensors"))
    weights = {name.removeprefix("weights."): x for name, x in tensors.items() if name.startswith("weights.")}
    config = small_config(facts["base_dim"])
    vae = random_vae(config)
    vae.load_state_dict(vae_from_original(original_state(vae.state_dict()) | weights, config))
    return vae, tensors["latents"], tensors["frames"]


def draw(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(frames, 16, 3, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_the_frames_of_wan(golden, split, layout):
    vae, latents, frames = golden
    decoder = WanDecoder(vae, layout)
    made = torch.cat([decoder.decode(part) for part in latents.split(list(split))])
    assert frames.shape == (13, 3, 32, 48)
    assert frames.std() > 0.05
    torch.testing.assert_close(made, frames, rtol=0, atol=1e-5)  # float32 sums in another order: 7e-6


@pytest.mark.parametrize("layout", LAYOUTS)
def test_where_a_push_ends_changes_no_bit(wide, layout):
    whole, cut = WanDecoder(wide, layout), WanDecoder(wide, layout)
    latents = draw(4)
    assert torch.equal(whole.decode(latents), torch.cat([cut.decode(part) for part in latents.split([1, 2, 1])]))


def test_bfloat16_is_no_further_from_float32_than_that_of_diffusers(wide):
    """Between two convolutions, our decoder rounds once and diffusers up to six times."""
    latents = draw(3)
    exact = one_shot(wide, latents)
    half = random_vae(small_config(32)).bfloat16()
    theirs = (one_shot(half, latents).float() - exact).abs().mean()
    assert theirs > 1e-3  # bfloat16 has 8 bits
    for layout in LAYOUTS:
        ours = (WanDecoder(half, layout).decode(latents).clamp(-1, 1) - exact).abs().mean()
        assert ours <= theirs


def test_an_enlarged_frame_is_that_of_nearest_exact():
    x = torch.randn(1, 6, 2, 3, 5, generator=torch.Generator().manual_seed(0))
    by_torch = torch.nn.functional.interpolate(x[0].transpose(0, 1), scale_factor=2.0, mode="nearest-exact")
    for layout in LAYOUTS:
        assert torch.equal(enlarged(x, 1, layout), by_torch)
    # Two frames for each: channels 0-2 are the earlier one, 3-5 the later one.
    twice = enlarged(x, 2, "channels-last")
    assert twice.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(twice[2], by_torch[1, :3])
    assert torch.equal(twice[3], by_torch[1, 3:])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_between_two_convolutions_has_their_memory_layout(wide, layout):
    """A convolution reads its own buffer, so nothing is copied before it."""
    decoder = WanDecoder(wide, layout)
    decoder.decode(draw(2))
    wanted = torch.channels_last_3d if layout == "channels-last" else torch.contiguous_format
    for conv in decoder.network.convolutions:
        assert conv.buffer.is_contiguous(memory_format=wanted)
        assert conv.weight.is_contiguous(memory_format=wanted)
        if layout == "channels-last":  # including the part that a take's first frame uses
            assert conv.buffer[:, :, :3].is_contiguous(memory_format=wanted)


def test_takes_share_weights_that_are_laid_out_for_them():
    vae = random_vae(small_config())
    values = {name: value.clone() for name, value in vae.state_dict().items()}
    arrange_weights(vae, "channels-last")
    assert all(torch.equal(value, values[name]) for name, value in vae.state_dict().items())
    weight = vae.decoder.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert WanDecoder(vae, "channels-last").network.conv_in.weight.data_ptr() == weight.data_ptr()
    assert WanDecoder(vae, "contiguous").network.conv_in.weight.data_ptr() != weight.data_ptr()


def test_buffers_of_a_published_size():
    """480x832 in bfloat16, from shapes alone: [C, 2 + n, h, w] per convolution over time.

    pictures of 60x104:    conv_in 16 x 3, then 4 + 6 + 1 of 384 x 3      6,240 pixels * 12,720 * 2 bytes =   159 MB
    of 120x208, n = 2:     192 x 4, then 5 + 1 of 384 x 4                24,960 pixels *  9,984 * 2 bytes =   498 MB
    of 240x416, n = 4:     6 of 192 x 6                                  99,840 pixels *  6,912 * 2 bytes = 1,380 MB
    of 480x832, n = 4:     6 + 1 of 96 x 6                              399,360 pixels *  4,032 * 2 bytes = 3,220 MB
    """
    with torch.device("meta"):
        vae = random_vae(WAN_VAE_CONFIG).bfloat16()
    decoder = StreamingDecoder(vae, "channels-last")
    z = torch.empty(1, 16, 1, H // 8, W // 8, dtype=torch.bfloat16, device="meta")
    with torch.inference_mode():
        assert decoder(z).shape == (1, 3, 1, H, W)
        assert decoder(z).shape == (1, 3, 4, H, W)
    expected = 2 * (6_240 * 12_720 + 24_960 * 9_984 + 99_840 * 6_912 + 399_360 * 4_032)
    assert decoder.history_bytes == expected


def test_buffers_go_with_the_decoder(wide):
    decoder = WanDecoder(wide)
    decoder.decode(draw(2))
    kept = [weakref.ref(conv.buffer) for conv in decoder.network.convolutions]
    del decoder
    gc.collect()
    assert not any(ref() is not None for ref in kept)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_strides_on_the_way_are_those_that_the_kernel_takes(wide, layout):
    kernel, calls = pytest.importorskip("longtake.platform.kernels.norm_silu"), []

    def checked(x, weight, out, bias=None, residual=None, keep=False):
        kernel.check(x, weight, out, bias, residual)
        calls.append(x.shape)
        plain_norm_silu(x, weight, out, bias, residual, keep)

    decoder = StreamingDecoder(wide, layout, checked)
    with torch.inference_mode():
        for z in draw(3):
            decoder(z[None, :, None])
    assert len(calls) == 3 * (2 * (2 + 4 * 3) + 1)  # two in each of 14 residual blocks, and one at the end


def test_what_runs_between_convolutions_has_a_name(wide):
    assert WanDecoder(wide).network.norm == "torch"
