"""Frames on the device of the networks: unchanged numbers on a CPU, one copy per clip to a GPU, and batches that fit.

A CPU replaces a GPU where the code allows it: an `Upload` to a CPU takes the same steps, and meta tensors, which have a
device and sizes but no numbers, refuse tensors of other devices.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longtake.evaluators.base import SuiteEntry
from longtake.evaluators.clip_frames import PREPARED_BYTES, OnDevice, OnHost, Upload
from longtake.evaluators.metrics.vbench_motion import differences
from longtake.evaluators.model_pool import FRAME_BYTES, MOST_FRAMES, ModelPool, pair_bytes
from longtake.evaluators.models.base import networks
from longtake.evaluators.scoring.scorer import score_video
from longtake.evaluators.vbench import pixels
from longtake.evaluators.views import ClipView, Frames
from tests.evaluators.live_bytes import LiveBytes
from tests.evaluators.stand_ins import stand_ins

Prepare = Callable[[Tensor], Tensor]
WIDE = 5, 300, 600, 3  # shorter side 224 -> 448 wide, 256 -> 512; longer side 512 -> 256 high


def frames_of(shape: tuple[int, ...] = WIDE, seed: int = 3) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def resized(frame: Tensor, size: tuple[int, int], mode: str, antialias: bool = False) -> Tensor:
    return F.interpolate(frame, size, mode=mode, align_corners=False, antialias=antialias)


def normed(frame: Tensor, statistics: pixels.Statistics) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in statistics)
    return (frame / 255.0 - mean) / std


# Network -> the function that prepares its frames, and the same in single steps for one frame of 300x600.
PREPARED: dict[str, tuple[Prepare, Prepare]] = {
    "dino": (pixels.for_dino, lambda x: normed(resized(x, (224, 448), "bilinear"), pixels.IMAGENET)),
    "clip": (pixels.for_clip, lambda x: normed(resized(x, (224, 448), "bicubic")[..., 112:336], pixels.CLIP)),
    "musiq": (pixels.for_musiq, lambda x: resized(x, (256, 512), "bilinear") / 255.0),
    "dinov2": (
        lambda frames: pixels.for_dinov2(frames, True),
        lambda x: normed(resized(x, (256, 512), "bicubic", True)[..., 16:240, 144:368], pixels.IMAGENET),
    ),
    "dreamsim": (
        lambda frames: pixels.for_dreamsim(frames, False),
        lambda x: resized(x, (224, 224), "bicubic") / 255.0,
    ),
    "amt, raft": (
        lambda frames: pixels.pad_to(pixels.raw(frames), 16)[0],  # 300 -> 304: two rows above, two below
        lambda x: torch.cat([x[:, :, :1], x[:, :, :1], x, x[:, :, -1:], x[:, :, -1:]], 2)[
            ..., [0] * 4 + [*range(600)] + [599] * 4
        ],
    ),
}


@pytest.mark.parametrize("place", [OnHost, Upload("cpu")], ids=["on the host", "uploaded"])
@pytest.mark.parametrize("name", PREPARED)
def test_frames_are_prepared_as_one_by_one_to_the_bit(name: str, place: Callable[[Frames], Any]) -> None:
    prepare, by_hand = PREPARED[name]
    frames = frames_of()
    expected = [by_hand(torch.tensor(frame[None]).permute(0, 3, 1, 2).float()) for frame in frames[[1, 2, 4]]]
    assert torch.equal(pixels.each(prepare, place(frames), [1, 2, 4]), torch.cat(expected))


@pytest.mark.parametrize("name", PREPARED)
def test_preparation_stays_on_the_device_of_the_frames(name: str) -> None:
    frames = OnDevice(torch.empty(WIDE, dtype=torch.uint8, device="meta"))
    assert pixels.each(PREPARED[name][0], frames, range(5)).device.type == "meta"


def test_a_large_frame_is_prepared_alone_on_a_device() -> None:
    small, huge = (torch.empty(1, *size, 3, dtype=torch.uint8, device="meta") for size in ((480, 832), (4096, 8192)))
    assert OnDevice(small).chunk == PREPARED_BYTES // (480 * 832 * 12)  # 56 frames of 4.8 MB
    assert OnDevice(huge).chunk == 1


def test_an_upload_keeps_its_frames_when_its_buffer_takes_the_next_clip() -> None:
    upload = Upload("cpu")
    clips = [frames_of((n, 8, 6, 3), seed=n) for n in (4, 2, 9)]  # smaller, then larger than the buffer
    moved = [upload(clip) for clip in clips]
    for clip, there in zip(clips, moved, strict=True):
        assert torch.equal(there.at(range(len(clip))), torch.from_numpy(clip))


def test_a_clip_moves_once_for_all_metrics_and_scores_as_on_the_host(
    tmp_path: Path, textured: Frames, lossless: Callable[..., Path]
) -> None:
    class Counted(Upload):
        def __call__(self, frames: Frames) -> OnDevice:
            moved.append(frames.nbytes)
            return super().__call__(frames)

    moved: list[int] = []
    path = lossless(tmp_path / "v.mkv", textured)
    entry = SuiteEntry("vbench-long", "v", {"long_range": True})
    there = stand_ins()
    there.place = Counted("cpu")
    scores = score_video(path, entry, there)
    assert scores == score_video(path, entry, stand_ins())
    assert moved == [32 * 40 * 48 * 3] * 3  # 84 frames: clips of 32, 32, and the last 32


def test_views_of_one_clip_share_what_was_moved() -> None:
    there, view = ModelPool(), ClipView(frames_of((4, 8, 6, 3)), 0, 2.0)
    assert there.frames(view) is there.frames(view)
    assert there.frames(ClipView(view.frames, 0, 2.0)) is not there.frames(view)


def test_differences_are_whole_numbers_of_each_frame() -> None:
    values = [[0, 255, 7, 1, 2, 3], [255, 0, 7, 3, 2, 1]]  # of two frames: 255 + 255 + 0, and 2 + 0 + 2
    one, other = torch.tensor(values, dtype=torch.uint8).view(2, 2, 1, 1, 3)
    assert differences(one, other).tolist() == [510, 4]
    large = torch.zeros(1, 480, 832, 3, dtype=torch.uint8)
    assert differences(large, large + 255).tolist() == [255 * 480 * 832 * 3]  # 305,510,400: float32 would round it


def empty_network(name: str) -> Any:
    with torch.device("meta"):
        return networks.get(name)().build().eval().requires_grad_(False)


def shown(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def flow(network: Any, pairs: int, height: int, width: int) -> Tensor:
    """Call RAFT as dynamic_degree does. Each iteration frees its tensors before the next, so three are enough."""
    features = network.features(shown(pairs + 1, 3, height, width))
    return network.flow(features[:-1], features[1:], network.context(shown(pairs, 3, height, width)), 3)


PAIRS: dict[str, Callable[[nn.Module, int, int, int], Tensor]] = {
    "amt": lambda network, *shape: network(shown(shape[0], 3, *shape[1:]), shown(shape[0], 3, *shape[1:])),
    "raft": flow,
}
SINGLE = {
    "dino": (224, 398),
    "dinov2": (224, 224),
    "clip-b": (224, 224),
    "clip-l": (224, 224),
    "musiq": (512, 512),
    "dreamsim": (224, 224),
}


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(480, 832), (1088, 1920)])
@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_takes_the_estimated_memory_and_stays_on_its_device(name: str, height: int, width: int) -> None:
    network = empty_network(name)
    with torch.inference_mode(), LiveBytes() as live:
        assert PAIRS[name](network, 2, height, width).device.type == "meta"
    assert live.peak < 2 * pair_bytes(height, width)
    if name == "amt":
        assert live.peak > 0.9 * 2 * pair_bytes(height, width)


@pytest.mark.parametrize("name", SINGLE)
def test_a_frame_takes_at_most_the_estimated_memory_and_stays_on_its_device(name: str) -> None:
    network = empty_network(name)
    with torch.inference_mode(), LiveBytes() as live:
        assert network(shown(2, 3, *SINGLE[name])).device.type == "meta"
    assert live.peak < 2 * FRAME_BYTES
    if name == "musiq":
        assert live.peak > 0.9 * 2 * FRAME_BYTES


def test_a_tensor_of_another_device_is_an_error_there() -> None:
    """The tests above depend on this."""
    with pytest.raises(RuntimeError, match="device"):
        shown(1, 3, 2, 2) - torch.ones(3, 1, 1)


@pytest.mark.parametrize(
    ("free_gb", "pairs", "batch"),
    [(80, [8, 8, 3, 1], 64), (20, [8, 3, 1, 1], 64), (4, [2, 1, 1, 1], 17)],
    ids=["80 GB card", "24 GB card, networks loaded", "a shared card"],
)
def test_batches_follow_the_memory_that_is_free(free_gb: int, pairs: list[int], batch: int) -> None:
    """Half of the memory is used. A pair of 480x832 takes 10.8 * 6240^2 + 800 * 399360 = 740 MB, of 720x1280 3.0 GB,
    of 1080x1920 13 GB; a frame 117.4 MB."""
    there = ModelPool("cuda")
    there.max_pass_bytes = free_gb * 1e9 / 2
    assert [there.pairs(*size) for size in ((480, 832), (720, 1280), (1080, 1920), (2160, 3840))] == pairs
    assert there.batch == batch


def test_a_cpu_takes_few_frames_and_asks_no_driver() -> None:
    assert (ModelPool("cpu").batch, ModelPool("cpu").pairs(64, 64)) == (8, 1)
    assert MOST_FRAMES * FRAME_BYTES < 8 << 30  # next to 3 GB of networks, a card of 24 GB holds two full batches
