"""Reading ahead gives the same items and errors, with a bounded lead, and leaves no thread behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from longtake.evaluators import gpu
from longtake.evaluators.model_pool import ModelPool
from longtake.evaluators.scoring import scorer
from longtake.evaluators.scoring.read_ahead import read_ahead
from longtake.evaluators.views import Frames
from longtake.platform.video import reading as video


class Source:
    """Counts to `length`, then raises `error`. Records how many items it made, and in which threads."""

    def __init__(self, length: int, error: Exception | None = None) -> None:
        self.length, self.error = length, error
        self.made = 0
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        for item in range(self.length):
            self.made += 1
            self.threads.add(threading.get_ident())
            yield item
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("depth", [1, 3, 50])
def test_items_come_in_order_from_one_other_thread(depth: int) -> None:
    source = Source(20)
    assert list(read_ahead(iter(source), depth)) == list(range(20))
    assert len(source.threads) == 1
    assert threading.get_ident() not in source.threads


def test_an_error_comes_in_its_place() -> None:
    ahead = read_ahead(iter(Source(5, ValueError("the sixth"))), 3)
    assert [next(ahead) for _ in range(5)] == list(range(5))
    with pytest.raises(ValueError, match="the sixth"):
        next(ahead)
    assert list(ahead) == []


def test_the_lead_is_bounded_and_ends_with_the_consumer() -> None:
    before, source = threading.active_count(), Source(1000)
    ahead = read_ahead(iter(source), 4)
    assert [next(ahead) for _ in range(3)] == [0, 1, 2]
    ahead.close()  # waits for the thread
    assert 3 <= source.made <= 3 + 4
    assert threading.active_count() == before


def test_frames_beside_a_gpu_are_those_beside_a_cpu(
    tmp_path: Path, textured: Frames, lossless: Callable[..., Path]
) -> None:
    path = lossless(tmp_path / "v.mkv", textured)
    beside_gpu, beside_cpu = (scorer._decoded(path, ModelPool(device), 32) for device in ("cuda", "cpu"))
    for one, other in zip(beside_gpu, beside_cpu, strict=True):
        assert np.array_equal(one, other)


def test_a_cut_video_ends_alike_beside_a_gpu(tmp_path: Path, textured: Frames, encoded: Callable[..., Path]) -> None:
    path = encoded(tmp_path / "v.mkv", textured, "libx264")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    reasons = []
    for device in ("cuda", "cpu"):
        with pytest.raises(video.VideoError) as caught:
            list(scorer._decoded(path, ModelPool(device), 32))
        reasons.append(str(caught.value))
    assert reasons[0] == reasons[1]


def test_networks_on_a_cpu_leave_its_cores_to_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu.decoder_threads("cpu") == 1
    for cores, threads in ((1, 1), (2, 2), (16, 4)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        assert gpu.decoder_threads("cuda:1") == threads
