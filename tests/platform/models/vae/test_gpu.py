"""The decoder on CUDA: as close to float32 on a CPU as diffusers, in bounded memory, with pixels on the host."""

import gc

import numpy as np
import pytest
import torch

from longtake.platform.errors import LongtakeError
from longtake.platform.kernels import has_triton
from longtake.platform.models.vae.decoder import StreamingDecoder
from longtake.platform.models.vae.norm import norm_silu_for
from longtake.platform.models.vae.wan import WAN_VAE_CONFIG, WanDecoder, load_vae, random_vae, to_pixels
from tests.platform.models.vae.small_vae import one_shot, write_vae

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
LAYOUTS = ["channels-last", "contiguous"]
CUDA = torch.device("cuda", 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_vae(tmp_path_factory.mktemp("vae"), base_dim=32)


@pytest.fixture(scope="module")
def latents():
    return torch.randn(4, 16, 6, 10, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def exact(folder, latents):
    """The frames in float32 on a CPU."""
    return one_shot(load_vae(folder), latents)


@pytest.fixture
def full_float32(monkeypatch):
    """Turn TF32 off, which cuDNN uses by default: it keeps 10 bits, an error of 1e-3 per product."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_float32_is_that_of_a_cpu(folder, latents, exact, layout, full_float32):
    """Sums in another order differ by 3e-6 on a CPU. cuDNN may choose Winograd or FFT, which lose one more digit."""
    decoder = WanDecoder(load_vae(folder, CUDA), layout)
    torch.testing.assert_close(decoder.decode(latents).clamp(-1, 1).cpu(), exact, rtol=0, atol=2e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bfloat16_is_no_further_from_float32_than_that_of_diffusers(folder, latents, exact, layout):
    vae = load_vae(folder, CUDA, torch.bfloat16)
    theirs = (one_shot(vae, latents).float().cpu() - exact).abs().mean()
    ours = (WanDecoder(vae, layout).decode(latents).clamp(-1, 1).cpu() - exact).abs().mean()
    assert theirs > 1e-3  # bfloat16 has 8 bits
    assert ours <= theirs


def test_it_uses_the_kernel_and_cudnns_layout_and_shares_weights(folder):
    vae = load_vae(folder, CUDA, torch.bfloat16)
    first, second = WanDecoder(vae).network, WanDecoder(vae).network
    assert first.layout == "channels-last"
    assert first.norm == ("triton" if has_triton() else "torch")
    assert first.conv_in.weight.data_ptr() == second.conv_in.weight.data_ptr()


def test_all_that_a_norm_reads_and_writes_is_in_channels_last(folder, latents):
    """Except for the output of the attention, the smallest. A convolution with another output layout would double its
    traffic."""
    vae, apart = load_vae(folder, CUDA, torch.bfloat16), []
    _, norm_silu = norm_silu_for(CUDA)

    def watched(x, weight, out, bias=None, residual=None, keep=False):
        apart.extend(other.shape for other in (x, out, residual) if other is not None and other.stride(1) != 1)
        norm_silu(x, weight, out, bias, residual, keep)

    decoder = WanDecoder(vae)
    decoder.network = StreamingDecoder(vae, "channels-last", watched)
    decoder.decode(latents)
    assert all(shape[3:] == latents.shape[2:] for shape in apart)
    assert len(apart) <= 3 * len(latents)


def test_pushes_are_arrays_of_their_own_with_the_pixels_of_a_decode(folder, latents):
    """Bit for bit equal: the same kernels run for the same shapes."""
    vae = load_vae(folder, CUDA, torch.bfloat16)
    decoder = WanDecoder(vae)
    pushed = [decoder.push(part) for part in latents.split([1, 2, 1])]
    whole = to_pixels(WanDecoder(vae).decode(latents)).cpu().numpy()
    assert np.array_equal(np.concatenate(pushed), whole)


def test_nan_becomes_no_picture(folder, latents):
    broken = latents.clone()
    broken[1, 0, 0, 0] = torch.nan
    with pytest.raises(LongtakeError, match="NaN or infinity"):
        WanDecoder(load_vae(folder, CUDA, torch.bfloat16)).push(broken)


def test_device_memory_at_the_published_size():
    """5.3 GB of buffers, 1.1 GB of activations, 0.25 GB of weights; the rest is for cuDNN. All of it is freed."""
    vae = random_vae(WAN_VAE_CONFIG).bfloat16().to(CUDA)
    gc.collect()
    torch.cuda.reset_peak_memory_stats(CUDA)
    before = torch.cuda.memory_allocated(CUDA)
    decoder = WanDecoder(vae)
    assert decoder.push(torch.randn(3, 16, 60, 104)).shape == (9, 480, 832, 3)
    buffers = decoder.network.history_bytes
    assert buffers < 5.3e9
    assert torch.cuda.max_memory_allocated(CUDA) - before < buffers + 4e9
    del decoder
    gc.collect()
    assert torch.cuda.memory_allocated(CUDA) - before < 0.1e9  # cuBLAS keeps a workspace
