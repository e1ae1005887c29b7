"""Work of the host: pinning memory, copies in both directions, noise, x264."""

import mmap
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.gpu.clock import device_ms, wall_ms
from tests.gpu.report import Report
from tests.gpu.setting import DEVICE, on_gpu, sized
from tests.gpu.stand_in import options

FRAME_BYTES = sized(287_539_200, 2**20)
"""A latent frame's keys and values of Wan 1.3B in bf16: 2 x 30 layers x 1560 tokens x 1536 x 2 bytes."""
PORTABLE = 1  # cudaHostRegisterPortable


def fresh_pages(huge: bool) -> Tensor:
    """Untouched pages, registered with CUDA if there is a device."""
    pages = mmap.mmap(-1, FRAME_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if huge:
        pages.madvise(mmap.MADV_HUGEPAGE)
    buffer = torch.frombuffer(pages, dtype=torch.uint8)
    if on_gpu():
        code = int(torch.cuda.cudart().cudaHostRegister(buffer.data_ptr(), FRAME_BYTES, PORTABLE))
        if code:
            raise RuntimeError(f"cudaHostRegister: CUDA error {code}")
    return buffer


def unpin(buffer: Tensor) -> None:
    if on_gpu():
        torch.cuda.synchronize()
        torch.cuda.cudart().cudaHostUnregister(buffer.data_ptr())


def pinning(report: Report) -> None:
    for huge in (False, True):
        name = f"pin a frame of the bank{', huge pages' if huge else ''}"
        with report.guard(name):
            spent, buffers = [], []
            for _ in range(3):
                started = time.perf_counter()
                buffers.append(fresh_pages(huge))
                spent.append((time.perf_counter() - started) * 1e3)
            report.row(
                name, sorted(spent)[1], "ms", f"{FRAME_BYTES / 1e6:.1f} MB; {min(spent):.1f} to {max(spent):.1f}"
            )
            for buffer in buffers:
                unpin(buffer)


def copies(report: Report) -> None:
    """Copies of one frame of the bank, in each direction alone and in both at once."""
    there, back = (torch.empty(FRAME_BYTES, dtype=torch.uint8, device=DEVICE) for _ in range(2))
    pinned, other, gbyte = fresh_pages(False), fresh_pages(False), FRAME_BYTES / 1e9
    pageable = torch.empty(FRAME_BYTES, dtype=torch.uint8)
    for name, to, source in (
        ("to the host, pinned", pinned, there),
        ("to the device, pinned", back, other),
        ("to the host, pageable", pageable, there),
    ):
        copy = partial(to.copy_, source, non_blocking=True)
        report.measure(f"frame {name}", partial(device_ms if "pinned" in name else wall_ms, copy), gbyte=gbyte)
    if on_gpu():
        both = partial(both_ways, pinned, there, back, other)
        report.measure("frames both ways, two streams", partial(wall_ms, both), gbyte=2 * gbyte)
    for buffer in (pinned, other):
        unpin(buffer)


def both_ways(pinned: Tensor, there: Tensor, back: Tensor, other: Tensor) -> None:
    for to, source in ((pinned, there), (back, other)):
        with torch.cuda.stream(torch.cuda.Stream()):
            to.copy_(source, non_blocking=True)


def pictures(kind: str) -> np.ndarray:
    """Frames [n, H, W, 3]: those that the bench encodes, or noise, the worst case for an encoder."""
    from longtake.jobs.bench.natural_frames import natural_frames

    height, width = sized((480, 832), (32, 48))
    frames = natural_frames(height, width)
    return frames if kind != "noise" else np.random.default_rng(0).integers(0, 256, frames.shape, np.uint8)


def encoding(report: Report) -> None:
    from longtake.platform.video.writing import VideoWriter

    for kind in ("natural frames", "noise"):
        frames = pictures(kind)
        with report.guard(f"x264 of {kind}"), tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            with VideoWriter(Path(folder) / "video.mp4", 16, *frames.shape[2:0:-1]) as video:
                video.write(frames)
            report.row(f"x264 of {kind}", len(frames) / (time.perf_counter() - started), "frames/s")


def noise(report: Report) -> None:
    """The noise of one block, four passes, drawn as in the sampler."""
    from longtake.jobs.bench.stand_in import stand_in
    from longtake.platform.generation.sampler import TakeNoise

    chosen = options()
    source = TakeNoise([chosen.take("native", 3)], stand_in(chosen).spec)
    report.measure("noise of a block", lambda: wall_ms(lambda: [source.draw(0, part) for part in range(4)]))


def main() -> int:
    report = Report("host")
    for part in (pinning, copies, encoding, noise):
        with report.guard(part.__name__):
            part(report)
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
