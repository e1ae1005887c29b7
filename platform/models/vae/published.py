"""Decodes like the published scripts of LongLive-RAG: with seams, and frames cut to bytes instead of rounded.

Those scripts decode the finished latents in chunks of 60 and clear the VAE's history before each, so the first latent
frame of a chunk gives one frame instead of four and nothing is known of the chunk before: 120 latent frames give 474
frames instead of 477, with a visible seam at frame 237. They scale frames to [0, 255] and cast them, which truncates.
For comparisons with published tables only; the stream of `WanDecoder` is what the VAE was trained for.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from longtake.platform.models.vae.pixels import to_truncated_pixels
from longtake.platform.models.vae.wan import WanDecoder
from longtake.platform.takes import PUBLISHED_CHUNK


class PublishedDecoder(WanDecoder):
    """A Decoder of one take that starts again every PUBLISHED_CHUNK latent frames and truncates."""

    to_pixels = staticmethod(to_truncated_pixels)
    latent_frames = 0

    @torch.inference_mode()
    def frames(self, latents_FCHW: Tensor) -> Iterator[Tensor]:
        """Yield the frames [1 or 4, 3, 8 h, 8 w] of each latent frame; 1 for the first of a chunk."""
        for latents in latents_FCHW.split(1):
            if self.latent_frames and self.latent_frames % PUBLISHED_CHUNK == 0:
                self.network = self.new_network()
            self.latent_frames += 1
            yield from super().frames(latents)
