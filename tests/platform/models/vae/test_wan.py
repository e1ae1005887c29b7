"""The streamed VAE gives the frames of a decode in one go, wherever it is cut and whoever shares the weights."""

import inspect
import json
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from longtake.platform.errors import LongtakeError, WeightsError
from longtake.platform.models.vae.wan import (
    WAN_VAE_CONFIG,
    WanDecoder,
    check_vae,
    load_vae,
    random_vae,
    to_pixels,
    vae_class,
    vae_from_original,
)
from tests.platform.models.vae.small_vae import one_shot, original_state, small_config, write_vae

SPLITS = [(9,), (1,) * 9, (3, 3, 3), (1, 2, 6), (2, 7), (0, 4, 0, 5)]


@pytest.fixture(scope="module")
def vae():
    return random_vae(small_config())


@pytest.fixture(scope="module")
def wide():
    """8 channels or more: with 2, the norm divides by lengths near zero, so rounding alone moves pixels by 1e-3."""
    return random_vae(small_config(8))


def draw(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(frames, 16, 3, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_any_split_of_the_frames_equals_one_decode(wide, split):
    latents = draw(9)
    decoder = WanDecoder(wide)
    parts = [decoder.decode(part) for part in latents.split(list(split))]
    expected = one_shot(wide, latents)
    assert expected.std() > 0.05  # the untrained network paints something
    assert expected.shape == (1 + 4 * 8, 3, 24, 32)
    torch.testing.assert_close(torch.cat(parts).clamp(-1, 1), expected, rtol=0, atol=1e-5)


def test_takes_that_share_a_vae_do_not_meet(vae):
    one, two = draw(6, seed=1), draw(6, seed=2)
    first, second = WanDecoder(vae), WanDecoder(vae)
    alone = [WanDecoder(vae).push(latents) for latents in (one, two)]
    mixed = [[], []]
    for start in (0, 3):
        mixed[0].append(first.push(one[start : start + 3]))
        one_shot(vae, one)  # diffusers keeps a history of its own on the vae
        mixed[1].append(second.push(two[start : start + 3]))
    assert np.array_equal(np.concatenate(mixed[0]), alone[0])
    assert np.array_equal(np.concatenate(mixed[1]), alone[1])
    assert not np.array_equal(*alone)


def test_the_first_latent_frame_makes_one_frame_and_each_later_one_four(vae):
    decoder = WanDecoder(vae)
    pushed = [decoder.push(part) for part in draw(6).split([3, 3])]
    assert [frames.shape for frames in pushed] == [(9, 24, 32, 3), (12, 24, 32, 3)]
    assert {frames.dtype for frames in pushed} == {np.dtype(np.uint8)}


def test_pixels_are_clamped_and_rounded_half_to_even():
    # (x + 1) * 127.5: -1 -> 0, 1 -> 255, 0 -> 127.5, which lies between 127 and 128 and goes to the even one
    values = torch.tensor([-3.0, -1.0, 0.0, 1.0, 7.0, 100.4 / 127.5 - 1, 100.6 / 127.5 - 1])
    pixels = to_pixels(values.view(1, 1, 1, 7).expand(1, 3, 1, 7))
    assert pixels.shape == (1, 1, 7, 3)
    assert pixels[0, 0, :, 1].tolist() == [0, 0, 128, 255, 255, 100, 101]


def test_nan_becomes_no_picture(vae):
    latents = draw(2)
    latents[1, 0, 0, 0] = torch.nan
    with pytest.raises(LongtakeError, match="NaN or infinity; the take diverged"):
        WanDecoder(vae).push(latents)


def test_what_is_kept_of_the_past_does_not_grow(vae):
    decoder = WanDecoder(vae)
    decoder.push(draw(1))
    first = [conv.buffer for conv in decoder.network.convolutions]
    decoder.push(draw(1))
    # Convolutions over time: one in, 2 x 2 in the middle, 4 x 3 x 2 in the blocks, 2 that double the rate, one out.
    convolutions = decoder.network.convolutions
    assert len(convolutions) == 1 + 4 + 24 + 2 + 1
    buffers = [conv.buffer for conv in convolutions]
    assert all(
        buffer.untyped_storage().nbytes() == buffer.nbytes for buffer in buffers
    )  # and keep no larger tensor alive
    # A kernel of 3 frames needs 2 past ones; after them come the new ones: 1 up to the first doubling, then 2, then 4.
    assert [buffer.shape[2] - 2 for buffer in buffers] == [1] * (1 + 4 + 6 + 1) + [2] * (6 + 1) + [4] * (12 + 1)
    decoder.push(draw(4))
    assert all(conv.buffer is buffer for conv, buffer in zip(convolutions, buffers, strict=True))
    assert (
        sum(buffer is None for buffer in first) == 2
    )  # the first frame does not enter convolutions that double the rate
    assert all(one is None or one is buffer for one, buffer in zip(first, buffers, strict=True))


def test_memory_does_not_grow_with_the_video(vae):
    decoder, process = WanDecoder(vae), psutil.Process()
    for _ in range(10):
        decoder.push(draw(3))
    before = process.memory_info().rss
    for _ in range(20):
        decoder.push(draw(3))
    assert process.memory_info().rss - before < 20 * 3 * 4 * 24 * 32 * 3  # less than the frames as bytes


def test_the_published_config_is_that_of_diffusers_and_of_wan():
    given = {name: p.default for name, p in inspect.signature(vae_class().__init__).parameters.items()}
    assert {key: given[key] for key in WAN_VAE_CONFIG} == WAN_VAE_CONFIG
    with torch.device("meta"):
        count = sum(p.numel() for p in vae_class()(**WAN_VAE_CONFIG).parameters())
    assert count * 4 == pytest.approx(508e6, rel=0.01)  # the size of Wan2.1_VAE.pth


def test_a_folder_loads_and_gives_the_same_frames(vae, tmp_path):
    folder = write_vae(tmp_path / "vae")
    check_vae(folder)
    loaded = load_vae(folder)
    assert not loaded.training
    assert np.array_equal(WanDecoder(loaded).push(draw(3)), WanDecoder(vae).push(draw(3)))
    half = load_vae(folder, dtype=torch.bfloat16)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    assert WanDecoder(half).decode(draw(3)).shape == (9, 3, 24, 32)


def test_missing_unexpected_and_misshapen_weights_are_named(tmp_path):
    folder = write_vae(tmp_path)
    path = folder / "model.safetensors"
    weights = load_file(path)
    bias = weights.pop("decoder.conv_out.bias")
    save_file(weights | {"decoder.extra": torch.zeros(1)}, path)
    for refuse in (check_vae, load_vae):
        with pytest.raises(WeightsError, match=r"missing decoder\.conv_out\.bias; unexpected decoder\.extra"):
            refuse(folder)
    save_file(weights | {"decoder.conv_out.bias": bias.repeat(2)}, path)
    for refuse in (check_vae, load_vae):
        with pytest.raises(WeightsError, match=r"conv_out\.bias has shape \[6\], the architecture needs \[3\]"):
            refuse(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"is_residual": True}, "is_residual is True, the VAE of Wan 2.1 has False"),
        ({"temperal_downsample": [True, True, True]}, "temperal_downsample is"),
        ({"tempo": 3}, "missing nothing; unknown tempo"),
        ({"z_dim": 8}, "must have z_dim = 8 numbers"),
    ],
)
def test_another_vae_is_refused(change, message, tmp_path: Path):
    folder = write_vae(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(WeightsError, match=message):
        check_vae(folder)


def test_the_original_layout_becomes_the_diffusers_one(vae):
    original = original_state(vae.state_dict())
    assert {"conv1.weight", "decoder.head.0.gamma", "decoder.upsamples.4.shortcut.weight"} <= original.keys()
    assert "encoder.middle.1.to_qkv.weight" in original
    renamed = vae_from_original(original, small_config())
    assert renamed.keys() == vae.state_dict().keys()
    assert all(torch.equal(renamed[name], value) for name, value in vae.state_dict().items())
    original["decoder.upsamples.16.residual.2.weight"] = original.pop("decoder.upsamples.14.residual.2.weight")
    with pytest.raises(WeightsError, match=r"missing decoder\.up_blocks\.3\.resnets\.2\.conv1\.weight; unexpected"):
        vae_from_original(original, small_config())
