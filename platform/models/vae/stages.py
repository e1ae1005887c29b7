"""The stages of the VAE's decoder after its first convolution, each with the weights of diffusers' modules.

A stage takes the activation as terms that are not summed yet, overwrites them, and returns terms. Its `convolutions`
are the convolutions with a history. Shapes are [1, C, n, h, w] throughout.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from longtake.platform.models.vae.conv import CausalConv, Layout, PictureConv, PointConv, enlarged
from longtake.platform.models.vae.norm import NormSilu, Terms


class Stage(Protocol):
    convolutions: list[CausalConv]

    def __call__(self, terms: Terms) -> Terms: ...


def stages_of(decoder: Any, layout: Layout, norm_silu: NormSilu) -> Iterator[Stage]:
    """The stages of a `WanDecoder3d` after its first convolution, in order."""
    frames = 1
    first, *rest = decoder.mid_block.resnets
    yield ResidualBlock(first, layout, norm_silu, frames)
    for attention, resnet in zip(decoder.mid_block.attentions, rest, strict=True):
        yield Attention(attention)
        yield ResidualBlock(resnet, layout, norm_silu, frames)
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            yield ResidualBlock(resnet, layout, norm_silu, frames)
        for module in block.upsamplers or ():
            upsampler = Upsampler(module, layout, frames)
            yield upsampler
            frames *= upsampler.times
    yield NormedConv(decoder.norm_out, decoder.conv_out, layout, norm_silu, frames)


class NormedConv:
    """Norm, SiLU and a causal convolution. The norm writes into the buffer that the convolution reads."""

    def __init__(self, norm: Any, conv: Any, layout: Layout, norm_silu: NormSilu, frames: int):
        self.weight = (norm.gamma.detach().float() * norm.scale).flatten()
        self.conv, self.norm_silu = CausalConv(conv, layout, frames), norm_silu
        self.convolutions = [self.conv]

    def __call__(self, terms: Terms, keep: bool = False) -> Terms:
        """The convolution of the next frames, with its bias as a term. With `keep`, terms.x becomes the sum."""
        terms.normed_into(self.conv.entry(terms.x), self.weight, self.norm_silu, keep)
        return Terms(self.conv(), self.conv.bias)


class ResidualBlock:
    """Two normed convolutions with a shortcut around them."""

    def __init__(self, module: Any, layout: Layout, norm_silu: NormSilu, frames: int):
        self.first = NormedConv(module.norm1, module.conv1, layout, norm_silu, frames)
        self.second = NormedConv(module.norm2, module.conv2, layout, norm_silu, frames)
        widens = module.conv1.in_channels != module.conv1.out_channels
        self.shortcut = PointConv(module.conv_shortcut, layout) if widens else None
        self.convolutions = [self.first.conv, self.second.conv]

    def __call__(self, terms: Terms) -> Terms:
        branch = self.first(terms, keep=True)
        residual = self.shortcut(terms.x) if self.shortcut else terms.x
        branch = self.second(branch)
        return Terms(branch.x, branch.bias, residual)


class Attention:
    """Attention with one head over the pixels of a frame, as in diffusers; for small pictures, without history."""

    def __init__(self, module: Any):
        self.module = module
        self.convolutions: list[CausalConv] = []

    def __call__(self, terms: Terms) -> Terms:
        return Terms(self.module(terms.added()))


class Upsampler:
    """Doubles height and width and, if the module has a convolution over time, the frames.

    A take's first latent frame stays one frame and does not enter that convolution's history.
    """

    def __init__(self, module: Any, layout: Layout, frames: int):
        over_time = module.mode == "upsample3d"
        self.layout, self.times, self.started = layout, 2 if over_time else 1, False
        self.convolutions = [CausalConv(module.time_conv, layout, frames)] if over_time else []
        self.over_pictures = PictureConv(module.resample[1], layout)

    def __call__(self, terms: Terms) -> Terms:
        x, times = terms.added(), self.times if self.started else 1
        if times > 1:
            (over_time,) = self.convolutions
            over_time.entry(x).copy_(x)
            x = over_time(add_bias=True)  # [1, 2 C, n, h, w]: two frames for each one
        self.started = True
        return Terms(self.over_pictures(enlarged(x, times, self.layout)), self.over_pictures.bias)
