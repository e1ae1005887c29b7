"""The published decode: chunks of 60 latent frames that know nothing of each other, cut to bytes."""

import numpy as np
import torch

from longtake.platform.models.vae.pixels import to_truncated_pixels
from longtake.platform.models.vae.published import PublishedDecoder
from longtake.platform.models.vae.wan import WanDecoder, random_vae
from tests.platform.models.vae.small_vae import one_shot, small_config


def test_each_chunk_of_60_is_decoded_alone_wherever_the_pushes_end() -> None:
    vae = random_vae(small_config(8))
    latents = torch.randn(63, 16, 2, 2, generator=torch.Generator().manual_seed(0))
    decoder = PublishedDecoder(vae)
    frames = np.concatenate([decoder.push(part) for part in latents.split([58, 4, 1])])
    assert frames.shape == (237 + 9, 16, 16, 3)
    floats = torch.cat([one_shot(vae, latents[:60]), one_shot(vae, latents[60:])]).permute(0, 2, 3, 1)
    expected = np.floor((floats.clamp(-1, 1).numpy() / 2 + 0.5) * 255)
    far = np.abs(frames - expected) > 0
    assert far.mean() < 1e-3  # a value beside a whole number may fall on either side of it
    assert np.abs(frames - expected).max() <= 1
    stream = WanDecoder(vae).push(latents)
    assert len(stream) == 1 + 4 * 62
    assert np.abs(stream[: 60 * 4 - 3].astype(int) - frames[:237]).max() <= 1  # rounding is all that differs
    assert np.abs(stream[240:].astype(int) - frames[237:]).max() > 8  # the seam


def test_pixels_are_truncated() -> None:
    """(x / 2 + 1/2) * 255: 0 -> 127.5 -> 127, and 200.9 -> 200."""
    values = torch.tensor([-3.0, -1.0, 0.0, 1.0, 7.0, 2 * 200.9 / 255 - 1])
    pixels = to_truncated_pixels(values.view(1, 1, 1, 6).expand(1, 3, 1, 6))
    assert pixels[0, 0, :, 0].tolist() == [0, 0, 127, 255, 255, 200]
