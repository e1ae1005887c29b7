"""Blocks are decoded and encoded beside the generation: the same video, a short queue, and one error at the most."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from longtake.jobs.finishing import MOST_WAITING, Finisher
from longtake.jobs.generate import SamplerWorker
from longtake.jobs.grid import expand
from longtake.platform.errors import VideoError, WeightsError
from longtake.platform.generation.sampler import BlockOutput, Sampler
from longtake.platform.resources import Resources
from longtake.platform.store import SweepStore
from longtake.platform.takes import Take
from longtake.platform.video import VideoWriter

from . import tiny

SIDE = 16


class Grey:
    """Frames as grey as the latents say; refuses the latent `refused`, waits at `gate` before each block."""

    def __init__(self, refused: int | None = None, gate: threading.Event | None = None):
        self.refused, self.gate = refused, gate
        self.seen: list[int] = []

    def push(self, latents_FCHW: torch.Tensor) -> np.ndarray:
        if self.gate is not None:
            self.gate.wait(30)
        level = int(latents_FCHW.flatten()[0])
        self.seen.append(level)
        if level == self.refused:
            raise WeightsError(f"no {level}")
        return np.full((len(latents_FCHW), SIDE, SIDE, 3), level, np.uint8)


def block(level: int) -> torch.Tensor:
    return torch.full((3, 1, 1, 1), float(level))


def writer(folder: Path) -> VideoWriter:
    return VideoWriter(folder / "v.mp4", width=SIDE, height=SIDE)


def no_thread_is_left() -> bool:
    return all(thread.name != "finisher" for thread in threading.enumerate())


def test_blocks_are_finished_in_order_and_all_of_them(tmp_path: Path) -> None:
    decoder = Grey()
    with writer(tmp_path) as video:
        with Finisher(decoder, video) as finisher:
            for level in range(20):
                finisher.put(block(level))
        assert video.num_frames == 60
        assert no_thread_is_left()
    assert decoder.seen == list(range(20))


def test_who_brings_blocks_is_never_further_ahead_than_the_queue(tmp_path: Path) -> None:
    ahead: list[int] = []
    made = 0

    class Watching(Grey):
        def push(self, latents_FCHW: torch.Tensor) -> np.ndarray:
            ahead.append(made - len(self.seen))
            return super().push(latents_FCHW)

    with writer(tmp_path) as video, Finisher(Watching(), video) as finisher:
        for level in range(50):
            made = level + 1
            finisher.put(block(level))
    assert max(ahead) <= MOST_WAITING + 2  # those that wait, the one in hand, the one that is being brought


def test_a_failed_decoder_stops_the_other_side_and_is_told_once(tmp_path: Path) -> None:
    brought = 0
    decoder = Grey(refused=5)
    with pytest.raises(WeightsError, match=r"^no 5$"), writer(tmp_path) as video, Finisher(decoder, video) as finisher:
        for level in range(1000):
            finisher.put(block(level))
            brought += 1
    assert brought <= 5 + MOST_WAITING + 2
    assert no_thread_is_left()
    assert not list(tmp_path.iterdir())


def test_the_last_block_may_fail_too(tmp_path: Path) -> None:
    decoder = Grey(refused=3)
    with pytest.raises(WeightsError, match="no 3"), writer(tmp_path) as video, Finisher(decoder, video) as finisher:
        for level in range(4):
            finisher.put(block(level))
    assert no_thread_is_left()


def test_an_error_of_the_encoder_keeps_its_type(tmp_path: Path) -> None:
    wide = VideoWriter(tmp_path / "v.mp4", width=32, height=SIDE)
    with pytest.raises(VideoError, match="the video takes"), wide as video, Finisher(Grey(), video) as finisher:
        finisher.put(block(0))


@pytest.mark.parametrize("error", [RuntimeError("generation"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_failed_generation_drops_what_waits(tmp_path: Path, error: BaseException) -> None:
    gate = threading.Event()
    decoder = Grey(gate=gate, refused=0)  # the thread fails as well: only the first error is told
    with pytest.raises(type(error)), writer(tmp_path) as video, Finisher(decoder, video) as finisher:
        for level in range(3):
            finisher.put(block(level))
        threading.Timer(0.05, gate.set).start()
        raise error
    assert decoder.seen in ([0], [])  # the block in hand, if the thread had taken one
    assert no_thread_is_left()
    assert not list(tmp_path.iterdir())


class Breaking(Sampler):
    """Fails at its fifth block."""

    def generate_together(self, takes: Sequence[Take]) -> Iterator[list[BlockOutput]]:
        for made in super().generate_together(takes):
            if made[0].index == 4:
                raise OSError("lost")
            yield made


class Undecodable(Sampler):
    def decoder(self, take: Take) -> Any:
        return Refusing()


class Refusing:
    def push(self, latents_FCHW: torch.Tensor) -> np.ndarray:
        raise WeightsError("no pixels")


def set_up(folder: Path, sampler: type[Sampler]) -> tuple[SamplerWorker, list[Take]]:
    """A worker over a store, and the takes that the tiny backbone makes."""
    grid = expand(tiny.write_sweep(folder), [])
    store = SweepStore(folder / "runs", "small")
    store.write_plan(grid.config_yaml, grid.takes)
    load = sampler
    return SamplerWorker(store, Resources(device="cpu"), lambda name, resources: load(name, resources)), grid.takes


def in_turn(worker: SamplerWorker, take: Take, path: Path) -> str:
    """The checksum of the video that one thread makes: generate, decode, encode, generate, ..."""
    sampler, spec = worker.sampler, worker.sampler.backbone.spec
    decoder = sampler.decoder(take)
    with VideoWriter(path, fps=spec.fps, width=spec.width, height=spec.height) as video:
        for made in sampler.generate(take):
            video.write(decoder.push(made.latents))
        return video.close().sha256


def test_the_video_is_the_one_that_a_single_thread_makes(tmp_path: Path) -> None:
    worker, takes = set_up(tmp_path, Sampler)
    for take in takes[:3]:
        (result,) = worker.run([take.to_json()], lambda report: None)
        assert result["video_sha256"] == in_turn(worker, take, tmp_path / "alone.mp4")
        assert set(result["timings"]) == {"load", "generate", "decode", "encode", "wait", "wall"}
    assert no_thread_is_left()


@pytest.mark.parametrize(("sampler", "error"), [(Breaking, OSError), (Undecodable, WeightsError)])
def test_a_take_that_fails_leaves_nothing_and_the_worker_goes_on(
    tmp_path: Path, sampler: type[Sampler], error: type[Exception]
) -> None:
    worker, takes = set_up(tmp_path, sampler)
    take = max(takes, key=lambda take: take.latent_frames)
    for _ in range(2):
        with pytest.raises(error, match=r"^(lost|no pixels)$"):
            worker.run([take.to_json()], lambda report: None)
    assert no_thread_is_left()
    assert not list(worker.store.folder.rglob(".tmp-*"))
    worker.loaded.sampler = Sampler(take.backbone, worker.loaded.resources)
    assert worker.run([take.to_json()], lambda report: None)[0]["take_id"] == take.id


def test_takes_that_are_made_together_are_those_made_alone(tmp_path: Path) -> None:
    """And what is there already is given back as it is."""
    worker, takes = set_up(tmp_path, Sampler)
    cell = [take for take in takes if take.cell == takes[0].cell]
    assert len(cell) == 2
    results = worker.run([take.to_json() for take in cell], lambda report: None)
    assert [result["take_id"] for result in results] == [take.id for take in cell]
    for take, result in zip(cell, results, strict=True):
        assert result["video_sha256"] == in_turn(worker, take, tmp_path / "alone.mp4")
    assert worker.run([take.to_json() for take in cell], lambda report: None) == results
