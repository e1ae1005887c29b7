"""Blocks are decoded and encoded during the generation: the same video, short queues, and at most one error."""

import gc
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pytest
import torch

from longtake.jobs.sweep.grid import expand
from longtake.jobs.workers.sampling import MakeItem, SamplerWorker
from longtake.jobs.workers.stage import MAX_WAITING, Stage
from longtake.jobs.workers.video_pipeline import VideoPipeline
from longtake.platform.errors import VideoError, WeightsError
from longtake.platform.generation.sampler import BlockOutput, Sampler
from longtake.platform.machine.resources import Resources
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import Take
from longtake.platform.video.writing import VideoWriter
from tests.jobs import tiny

SIDE = 16
PATIENCE = 30  # seconds after which a test fails instead of hanging


class Grey:
    """Decodes latents to grey frames. Fails at the latent `refused`, and waits for `gate` before each block."""

    def __init__(self, refused: int | None = None, gate: threading.Event | None = None):
        self.refused, self.gate = refused, gate
        self.seen: list[int] = []

    def push(self, latents_FCHW: torch.Tensor) -> np.ndarray:
        if self.gate is not None:
            assert self.gate.wait(PATIENCE)
        level = int(latents_FCHW.flatten()[0])
        self.seen.append(level)
        if level == self.refused:
            raise WeightsError(f"no {level}")
        return np.full((len(latents_FCHW), SIDE, SIDE, 3), level, np.uint8)


class Wide(Grey):
    """Returns frames that are wider than the video for the block `wide`."""

    def __init__(self, wide: int):
        super().__init__()
        self.wide = wide

    def push(self, latents_FCHW: torch.Tensor) -> np.ndarray:
        frames = super().push(latents_FCHW)
        return frames.repeat(2, axis=2) if self.seen[-1] == self.wide else frames


class WatchedWriter(VideoWriter):
    """A video whose every write first calls `before`, with the number of writes so far."""

    def __init__(self, folder: Path, before: Callable[[int], None]):
        super().__init__(folder / "v.mp4", width=SIDE, height=SIDE)
        self.before, self.writes = before, 0

    def write(self, frames_NHWC: np.ndarray) -> None:
        self.before(self.writes)
        self.writes += 1
        super().write(frames_NHWC)


def block(level: int) -> torch.Tensor:
    return torch.full((3, 1, 1, 1), float(level))


def writer(folder: Path) -> VideoWriter:
    return VideoWriter(folder / "v.mp4", width=SIDE, height=SIDE)


def no_stage_is_at_work() -> bool:
    """No thread is anywhere inside a stage; idle ones wait for the next."""
    return not any(Stage.run.__code__ in codes(frame) for frame in sys._current_frames().values())


def codes(frame: FrameType | None) -> Iterator[CodeType]:
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def until(true: Callable[[], bool]) -> None:
    """Wait until the condition holds; fails after a timeout."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_every_block_gets_into_the_video_in_order(tmp_path: Path) -> None:
    decoder = Grey()
    with writer(tmp_path) as video:
        with VideoPipeline(decoder, video) as pipeline:
            for level in range(20):
                pipeline.put(block(level))
        assert video.num_frames == 60
        assert no_stage_is_at_work()
    assert decoder.seen == list(range(20))


def test_videos_are_decoded_by_threads_that_stay(tmp_path: Path) -> None:
    """cuDNN's plans of convolutions belong to a thread, and would be made again for every take."""
    before = decode_threads()
    for _ in range(10):
        with writer(tmp_path) as video, VideoPipeline(Grey(), video) as pipeline:
            pipeline.put(block(1))
        time.sleep(0.02)  # a thread is idle shortly after its stage has ended
    assert before <= decode_threads()
    assert len(decode_threads() - before) <= 2  # one, or another if the first was not idle yet


def decode_threads() -> set[int | None]:
    return {thread.ident for thread in threading.enumerate() if thread.name.startswith("decode")}


def test_the_next_block_is_decoded_while_one_is_encoded(tmp_path: Path) -> None:
    """A block is encoded only once the next one is being decoded, so a single thread would never end."""
    decoder = Grey()
    with WatchedWriter(tmp_path, lambda done: until(lambda: len(decoder.seen) > min(done + 1, 9))) as video:
        with VideoPipeline(decoder, video) as pipeline:
            for level in range(10):
                pipeline.put(block(level))
        assert video.num_frames == 30


def test_the_queues_are_short(tmp_path: Path) -> None:
    """A slow encoder has one block in hand and two waiting, the decode thread holds one, and two wait for that."""
    most_decoded, most_brought, brought = 0, 0, 0
    decoder = Grey()

    def look(done: int) -> None:
        nonlocal most_decoded, most_brought
        if done < 10:
            until(lambda: brought - done == 2 * MAX_WAITING + 2)  # both queues fill up
        time.sleep(0.005)
        most_decoded, most_brought = max(most_decoded, len(decoder.seen) - done), max(most_brought, brought - done)

    with WatchedWriter(tmp_path, look) as video, VideoPipeline(decoder, video) as pipeline:
        for level in range(20):
            pipeline.put(block(level))
            brought = level + 1
    assert most_decoded == MAX_WAITING + 2
    assert most_brought == 2 * MAX_WAITING + 2


def test_blocks_may_have_no_frames_yet(tmp_path: Path) -> None:
    class Late(Grey):
        def push(self, latents_FCHW: torch.Tensor) -> np.ndarray:
            return super().push(latents_FCHW)[: 0 if len(self.seen) % 2 else None]

    with writer(tmp_path) as video:
        with VideoPipeline(Late(), video) as pipeline:
            for level in range(7):
                pipeline.put(block(level))
        assert video.num_frames == 3 * 3


def test_a_failed_decoder_stops_the_generation_and_is_raised_once(tmp_path: Path) -> None:
    brought = 0
    failed = pytest.raises(WeightsError, match=r"^no 5$")
    with failed, writer(tmp_path) as video, VideoPipeline(Grey(refused=5), video) as pipeline:
        for level in range(1000):
            pipeline.put(block(level))
            brought += 1
    assert brought <= 5 + MAX_WAITING + 2
    assert no_stage_is_at_work()
    assert not list(tmp_path.iterdir())


def test_a_failed_encoder_frees_a_decoder_that_waits_for_room(tmp_path: Path) -> None:
    """The first write fails when two blocks wait and the decode thread holds the fourth."""
    brought = 0
    decoder = Wide(0)
    failed = pytest.raises(VideoError, match="expected uint8")
    video = WatchedWriter(tmp_path, lambda done: until(lambda: len(decoder.seen) == MAX_WAITING + 2))
    with failed as caught, video, VideoPipeline(decoder, video) as pipeline:
        for level in range(1000):
            pipeline.put(block(level))
            brought += 1
    assert brought <= 2 * MAX_WAITING + 3
    assert decoder.seen == [0, 1, 2, 3]
    assert no_stage_is_at_work()
    assert caught.value.__context__ is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("decoder", "error"), [(Grey(refused=3), WeightsError), (Wide(3), VideoError)], ids=["decoder", "encoder"]
)
def test_the_last_block_may_fail_too(tmp_path: Path, decoder: Grey, error: type[Exception]) -> None:
    with pytest.raises(error), writer(tmp_path) as video, VideoPipeline(decoder, video) as pipeline:
        for level in range(4):
            pipeline.put(block(level))
    assert no_stage_is_at_work()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [RuntimeError("generation"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_failed_generation_drops_what_waits(tmp_path: Path, error: BaseException) -> None:
    gate = threading.Event()
    decoder = Grey(gate=gate, refused=0)  # the thread fails too, but only the first error is raised
    with pytest.raises(type(error)), writer(tmp_path) as video, VideoPipeline(decoder, video) as pipeline:
        for level in range(3):
            pipeline.put(block(level))
        threading.Timer(0.05, gate.set).start()
        raise error
    assert decoder.seen in ([0], [])  # the current block, if the thread had taken one
    assert no_stage_is_at_work()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("blocks", [3, 1000], ids=["at the end", "for room"])
def test_an_interrupt_reaches_a_generation_that_waits(tmp_path: Path, blocks: int) -> None:
    """SIGINT while the main thread waits for the last blocks or, three blocks ahead, for room."""
    gate, ready = threading.Event(), threading.Event()
    decoder = Grey(gate=gate)

    def interrupt() -> None:
        ready.wait(PATIENCE)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        until(lambda: not pipeline.decoding.waiting)
        gate.set()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt), writer(tmp_path) as video, VideoPipeline(decoder, video) as pipeline:
        for level in range(blocks):
            pipeline.put(block(level))
            if level == MAX_WAITING:
                threading.Timer(0.05, ready.set).start()  # by then this thread most likely waits
    thread.join()
    assert decoder.seen in ([0], [])
    assert no_stage_is_at_work()
    assert not list(tmp_path.iterdir())


def test_a_decoder_goes_with_its_pipeline(tmp_path: Path) -> None:
    """It is freed without the garbage collector, since a decoder holds GPU memory."""
    decoder = Grey()
    alive = weakref.ref(decoder)
    gc.disable()
    try:
        with writer(tmp_path) as video, VideoPipeline(decoder, video) as pipeline:
            pipeline.put(block(0))
        del decoder, pipeline
        assert alive() is None
    finally:
        gc.enable()


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
    """The checksum of the video made by a single thread: generate, decode, encode, generate, ..."""
    sampler, spec = worker.sampler, worker.sampler.backbone.spec
    decoder = sampler.decoder(take)
    with VideoWriter(path, fps=spec.fps, width=spec.width, height=spec.height) as video:
        for made in sampler.generate(take):
            video.write(decoder.push(made.latents))
        return video.close().sha256


def test_the_video_is_the_one_that_a_single_thread_makes(tmp_path: Path) -> None:
    worker, takes = set_up(tmp_path, Sampler)
    for take in takes[:3]:
        (result,) = worker.run(MakeItem((take,)), lambda report: None)
        assert result.video_sha256 == in_turn(worker, take, tmp_path / "alone.mp4")
        assert set(result.timings) == {"load", "generate", "decode", "encode", "wait", "wall"}
    assert no_stage_is_at_work()


@pytest.mark.parametrize(("sampler", "error"), [(Breaking, OSError), (Undecodable, WeightsError)])
def test_a_take_that_fails_leaves_nothing_and_the_worker_goes_on(
    tmp_path: Path, sampler: type[Sampler], error: type[Exception]
) -> None:
    worker, takes = set_up(tmp_path, sampler)
    take = max(takes, key=lambda take: take.latent_frames)
    for _ in range(2):
        with pytest.raises(error, match=r"^(lost|no pixels)$"):
            worker.run(MakeItem((take,)), lambda report: None)
    assert no_stage_is_at_work()
    assert not list(worker.store.folder.rglob(".tmp-*"))
    worker.loaded.sampler = Sampler(take.backbone, worker.loaded.resources)
    assert worker.run(MakeItem((take,)), lambda report: None)[0].take_id == take.id


def test_takes_that_are_made_together_are_those_made_alone(tmp_path: Path) -> None:
    """A take that is already there is returned unchanged."""
    worker, takes = set_up(tmp_path, Sampler)
    cell = [take for take in takes if take.cell == takes[0].cell]
    assert len(cell) == 2
    results = worker.run(MakeItem(tuple(cell)), lambda report: None)
    assert [result.take_id for result in results] == [take.id for take in cell]
    for take, result in zip(cell, results, strict=True):
        assert result.video_sha256 == in_turn(worker, take, tmp_path / "alone.mp4")
    assert worker.run(MakeItem(tuple(cell)), lambda report: None) == results
