"""Decoding with Wan's VAE: the default, other memory layouts and modes of cuDNN, and diffusers' decoder."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tests.gpu.clock import wall_ms
from tests.gpu.kernel_table import tabulate
from tests.gpu.report import Report
from tests.gpu.setting import DEVICE, DTYPE, on_gpu, sized

if TYPE_CHECKING:
    from longtake.platform.models.vae.conv import Layout

FRAMES = 3
"""Latent frames of a block: 12 frames of video, except in a take's first block."""
SHAPE = sized((FRAMES, 16, 60, 104), (FRAMES, 16, 4, 4))


def network(dtype: torch.dtype = DTYPE) -> Any:
    """Wan's VAE at its published width, with random weights."""
    from longtake.platform.models.vae.conv import arrange_weights, default_layout
    from longtake.platform.models.vae.wan import WAN_VAE_CONFIG, random_vae

    config = WAN_VAE_CONFIG | {"base_dim": sized(WAN_VAE_CONFIG["base_dim"], 4)}
    vae = nn.Module.to(random_vae(config), DEVICE, dtype)  # the `to` of diffusers warns
    arrange_weights(vae, default_layout(DEVICE))  # as they are loaded
    return vae


def decoder(vae: Any, latents: Tensor, layout: Layout | None = None) -> Any:
    """A decoder with a full history, so that all later pushes cost the same."""
    from longtake.platform.models.vae.wan import WanDecoder

    streaming = WanDecoder(vae, layout)
    for _ in range(2):
        streaming.decode(latents)
    return streaming


def as_it_is(report: Report, vae: Any, latents: Tensor) -> None:
    if on_gpu():
        torch.cuda.reset_peak_memory_stats(DEVICE)
    streaming = decoder(vae, latents)
    block = wall_ms(lambda: streaming.decode(latents))
    report.row("decode a block", block, "ms", f"{4 * FRAMES / block * 1e3:.4g} frames/s")
    pushed = wall_ms(lambda: streaming.push(latents))
    report.row("decode a block, pixels on the host", pushed, "ms", f"{4 * FRAMES / pushed * 1e3:.4g} frames/s")
    if on_gpu():
        report.row("peak device memory", torch.cuda.max_memory_allocated(DEVICE) / 2**30, "GiB")
    tabulate(report, "decode", lambda: streaming.decode(latents))


def forms(report: Report, vae: Any, latents: Tensor) -> None:
    """Decode in both memory layouts, with algorithms chosen by cuDNN's rule and by their run times."""
    layouts: tuple[Layout, ...] = ("channels-last", "contiguous")
    for layout in layouts:
        report.measure(f"decode, {layout}", partial(timed, vae, latents, layout))
        torch.backends.cudnn.benchmark = True
        report.measure(f"decode, {layout}, cudnn.benchmark", partial(timed, vae, latents, layout))
        torch.backends.cudnn.benchmark = False


def timed(vae: Any, latents: Tensor, layout: Layout) -> float:
    streaming = decoder(vae, latents, layout)
    return wall_ms(lambda: streaming.decode(latents), repeats=3)


@torch.inference_mode()
def diffusers_own(latents: Tensor) -> float:
    """ms of 3 frames in the middle of a video: the time of 5 frames minus that of 2."""
    vae = network()
    z = latents.to(DTYPE).transpose(0, 1)[None]
    short, long = z[:, :, :2], torch.cat([z, z[:, :, :2]], dim=2)
    return wall_ms(lambda: vae.decode(long), repeats=3) - wall_ms(lambda: vae.decode(short), repeats=3)


def rounding(latents: Tensor) -> float:
    """The largest difference between bf16 and float32, for frames in -1 .. 1."""
    from longtake.platform.models.vae.wan import WanDecoder

    frames = [WanDecoder(network(dtype)).decode(latents[:2]) for dtype in (torch.float32, torch.bfloat16)]
    return (frames[0] - frames[1]).abs().max().item()


def main() -> int:
    from longtake.platform.machine.process import compute_exactly

    compute_exactly()
    report = Report("vae")
    latents = torch.randn(SHAPE, device=DEVICE, generator=torch.Generator(DEVICE).manual_seed(0))
    vae = network()
    with report.guard("decode"):
        as_it_is(report, vae, latents)
    report.measure("decode, diffusers' own", partial(diffusers_own, latents))
    with report.guard("forms"):
        forms(report, vae, latents)
    del vae
    with report.guard("bf16 against float32"):
        report.row("bf16 against float32: largest difference", rounding(latents), "", "of frames in -1 .. 1")
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
