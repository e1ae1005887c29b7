"""The decoder of Wan's VAE for one take: shares the VAE's weights and has its own history.

Takes the weights of diffusers' modules (Wan 2.1: `WanDecoder3d` without `is_residual`) but runs them in its own way.
diffusers moves 126 GB per latent frame at 480x832 in bfloat16 (norms in several passes, float32 upsampling, padding,
joining and cloning of frames), this decoder 27 (docs/decisions/017, `python -m tests.bench.vae_traffic`). Latent frames
are decoded one by one, so the boundaries of pushes change no bit.

Device memory at 480x832 in bfloat16, from the shapes: 5.3 GB of history buffers, of which 3.2 GB are after the last
upsampling (7 of [96, 6, 480, 832]) and 1.4 GB before it (6 of [192, 6, 240, 416]); 1.1 GB of activations while that
upsampling runs; 0.25 GB of weights. The buffers return to torch's allocator with the object.

Shapes: one latent frame [1, 16, 1, h, w] -> [1, 3, n, 8 h, 8 w], n = 1 for a take's first latent frame, then 4.
"""

from typing import Any

from torch import Tensor

from longtake.platform.models.vae.conv import CausalConv, Layout, PointConv
from longtake.platform.models.vae.norm import NormSilu, Terms, norm_silu_for
from longtake.platform.models.vae.stages import stages_of


class StreamingDecoder:
    """Decodes one latent frame per call and mutates the history. Call it in inference mode.

    `norm`: the default implementation of the norms, "triton" or "torch". `norm_silu` replaces it.
    """

    def __init__(self, vae: Any, layout: Layout, norm_silu: NormSilu | None = None):
        decoder, self.layout = vae.decoder, layout
        self.norm, default = norm_silu_for(vae.post_quant_conv.weight.device)
        norm_silu = norm_silu or default
        self.post_quant_conv = PointConv(vae.post_quant_conv, layout)
        self.conv_in = CausalConv(decoder.conv_in, layout)
        self.stages = list(stages_of(decoder, layout, norm_silu))

    def __call__(self, z_BCFHW: Tensor) -> Tensor:
        """One latent frame [1, 16, 1, h, w] -> [1, 3, 1 or 4, 8 h, 8 w] in the dtype of the weights, not clamped."""
        z = self.post_quant_conv(z_BCFHW)
        self.conv_in.entry(z).copy_(z)
        terms = Terms(self.conv_in(), self.conv_in.bias)
        for stage in self.stages:
            terms = stage(terms)
        return terms.added()

    @property
    def convolutions(self) -> list[CausalConv]:
        """All convolutions with a history, in the order in which they run."""
        return [self.conv_in, *(conv for stage in self.stages for conv in stage.convolutions)]

    @property
    def history_bytes(self) -> int:
        """Bytes of all history buffers. Constant once a take has two latent frames."""
        return sum(conv.buffer.nbytes for conv in self.convolutions if conv.buffer is not None)
