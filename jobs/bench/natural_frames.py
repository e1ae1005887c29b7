"""Synthetic moving frames that take an H.264 encoder about as long as real video, for runs with random weights.

Random weights decode to noise, which takes three times as long to encode. These frames imitate natural video: textures
with a power-law spectrum, in layers that occlude each other, bend slightly and move at different subpixel speeds, and
some sensor grain.

CPU time of the encoder (platform/video/writing.py) per frame of 832x480 px: 12.0 ms (17.9 kB) for these frames, 11.6
and 12.0 ms (14.3 and 14.0 kB) for two real videos, decoded and encoded again, and 36.4 ms (253 kB) for uniform noise.
Medians of 15 interleaved rounds on one core of a shared Xeon: `python -m tests.bench.encoder_cost VIDEO ...`.
"""

from functools import cache

import numpy as np
from torch import Tensor

from longtake.platform.backbones.base import BackboneSpec, Decoder
from longtake.platform.takes import FRAMES_PER_LATENT

FRAMES = 48
PAN = (0.01, 0.035, 0.07)
"""How far each layer moves to either side, as a share of the width, from back to front."""
BEND, BENDS = 0.2, 3
"""Rows deviate by this share of the layer's movement, in this number of waves over the height."""
TEXTURE, OUTLINE = 1.4, 2.0
"""The amplitude at frequency f is f ** -TEXTURE; the outline of a layer is smoother."""
CONTRAST, GRAIN = 35.0, 1.0
"""Standard deviations of the texture and of the grain, in levels of 0..255."""


class NaturalDecoder:
    """Decodes a block, but returns the same number of natural frames instead of its noise (a view, not a copy)."""

    def __init__(self, decoder: Decoder, spec: BackboneSpec):
        self.decoder, self.returned = decoder, 0
        self.frames = looped(spec.height, spec.width, spec.frames_per_block * FRAMES_PER_LATENT)

    def push(self, latents_FCHW: Tensor) -> np.ndarray:
        """Decodes the latents of at most one block."""
        decoded = self.decoder.push(latents_FCHW)
        start, self.returned = self.returned % FRAMES, self.returned + len(decoded)
        return self.frames[start : start + len(decoded)]


@cache
def looped(height: int, width: int, block: int) -> np.ndarray:
    """Natural frames [48 + block, height, width, 3]; a block that starts at any of the 48 frames is one slice."""
    frames = natural_frames(height, width)
    return np.concatenate([frames, frames[np.arange(block) % FRAMES]])


class Layer:
    """A texture with its transparency and colour, kept as spectra of its rows, where a shift is a change of phase."""

    def __init__(self, rng: np.random.Generator, height: int, width: int, pan: float, opaque: bool):
        outline = np.full((height, width), 1.0) if opaque else random_field(rng, height, width, OUTLINE)
        texture = CONTRAST * random_field(rng, height, width, TEXTURE) + rng.uniform(80, 170)
        self.width, self.pan, self.waves = width, pan * width, np.linspace(0, 2 * np.pi * BENDS, height)
        self.alpha = np.fft.rfft(np.clip(8 * outline, 0, 1).astype(np.float32))
        self.texture = np.fft.rfft(texture.astype(np.float32))
        self.tint = rng.uniform(0.75, 1.25, 3).astype(np.float32)

    def draw(self, frame_HWC: np.ndarray, turn: float) -> None:
        """Draw the layer over the frame, which is mutated. `turn`: position in the movement there and back, 0 to 1."""
        way = np.sin(2 * np.pi * turn) + BEND * np.sin(2 * np.pi * turn + self.waves)
        angle = -2 * np.pi * self.pan * way[:, None] * np.fft.rfftfreq(self.width)
        shift = np.exp(1j * angle.astype(np.float32))
        alpha, texture = (np.fft.irfft(rows * shift, n=self.width)[..., None] for rows in (self.alpha, self.texture))
        frame_HWC += np.clip(alpha, 0, 1) * (texture * self.tint - frame_HWC)


def random_field(rng: np.random.Generator, height: int, width: int, exponent: float) -> np.ndarray:
    """[height, width] with mean 0, variance 1 and amplitudes f ** -exponent."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    real, imaginary = rng.standard_normal((2, *frequency.shape))
    field = np.fft.irfft2((real + 1j * imaginary) * frequency**-exponent, s=(height, width))
    return np.asarray(field / field.std())


def natural_frames(height: int, width: int) -> np.ndarray:
    """uint8 [48, height, width, 3], the same on every call. The frames form a loop."""
    rng = np.random.default_rng(0)
    layers = [Layer(rng, height, width, pan, opaque=index == 0) for index, pan in enumerate(PAN)]
    frames = np.empty((FRAMES, height, width, 3), np.uint8)
    for index in range(FRAMES):
        frame = np.zeros((height, width, 3), np.float32)
        for layer in layers:
            layer.draw(frame, index / FRAMES)
        frame += GRAIN * rng.standard_normal((height, width, 1), np.float32)
        frames[index] = np.clip(np.rint(frame), 0, 255)
    return frames
