"""Records the takes of a family while they are generated: every block is written to their videos and traces.

A shorter take is the beginning of a longer one, so one rollout and one decode thread serve all of them; each has an
encode thread of its own, and is complete as soon as its last block is. Only a few blocks are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from longtake.jobs.workers.video_pipeline import Stopwatch, VideoPipeline
from longtake.platform.errors import LongtakeError
from longtake.platform.machine.process import rss_bytes
from longtake.platform.takes import Take, canonical_json

if TYPE_CHECKING:
    from longtake.platform.backbones.base import BackboneSpec, Decoder
    from longtake.platform.generation.sampler import BlockOutput
    from longtake.platform.store.commit import TakeWriter
    from longtake.platform.video.writing import VideoInfo


@dataclass(frozen=True)
class Recording:
    """A written video: properties, number of trace rows, the frames' worth of tokens that a block attended (mean over
    the second half of the blocks), peak memory (sampled after each block), seconds by stage."""

    info: VideoInfo
    trace_rows: int
    attended_frames: float
    peak_rss_bytes: int
    timings: dict[str, float]


class TakeRecorder:
    """The video and the trace of one take, while they are written."""

    def __init__(self, take: Take, writer: TakeWriter, spec: BackboneSpec):
        from longtake.platform.video.writing import VideoWriter

        self.take, self.writer = take, writer
        self.blocks = take.latent_frames // spec.frames_per_block
        self.video = VideoWriter(writer.video_path, fps=spec.fps, width=spec.width, height=spec.height)
        self.attended = list[float]()
        self.peak = rss_bytes()

    def add(self, trace: Mapping[str, Any], line: str) -> None:
        """Add the trace of a block; `line`: the same as text."""
        self.trace.write(line)
        self.attended.append(attended_frames(trace))
        self.peak = max(self.peak, rss_bytes())

    def close(self, encode: Stopwatch) -> VideoInfo:
        self.trace.close()
        with encode.running():
            info = self.video.close()
        expected = self.take.num_frames
        if info.num_frames != expected:
            raise LongtakeError(f"take {self.take.id}: {info.num_frames} frames were decoded instead of {expected}")
        return info

    def __enter__(self) -> TakeRecorder:
        self.trace = self.writer.trace_path.open("w", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        """Deletes what is not closed."""
        self.trace.close()
        self.video.abort()


class FamilyRecorder:
    """Writes one rollout into the videos and traces of takes of a family. Call `add` for every block inside the `with`
    statement."""

    def __init__(self, takes: Sequence[Take], writers: Sequence[TakeWriter], decoder: Decoder, spec: BackboneSpec):
        self.takes = [TakeRecorder(take, writer, spec) for take, writer in zip(takes, writers, strict=True)]
        self.pipeline = VideoPipeline(decoder, *(one.video for one in self.takes))

    def __enter__(self) -> FamilyRecorder:
        with ExitStack() as cleanup:
            for one in self.takes:
                cleanup.enter_context(one)
            cleanup.enter_context(self.pipeline)
            self.cleanup = cleanup.pop_all()
        return self

    def add(self, block: BlockOutput) -> list[tuple[Take, TakeWriter, Recording]]:
        """Add the next block; returns the takes that end with it, whose files are complete. Raises the error of an
        earlier block that could not be decoded or encoded."""
        self.pipeline.put(block.latents)
        line = canonical_json(block.trace) + "\n"
        open_takes = [(number, one) for number, one in enumerate(self.takes) if block.index < one.blocks]
        for _, one in open_takes:
            one.add(block.trace, line)
        return [
            (one.take, one.writer, self.finish(number)) for number, one in open_takes if block.index + 1 == one.blocks
        ]

    def finish(self, number: int) -> Recording:
        one = self.takes[number]
        self.pipeline.finish(number)
        info, rows = one.close(self.pipeline.encode[number]), len(one.attended)
        mean = sum(one.attended[rows // 2 :]) / (rows - rows // 2)
        return Recording(info, rows, mean, one.peak, self.pipeline.timings(number))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cleanup.__exit__(kind, error, trace)


def attended_frames(trace: Mapping[str, Any]) -> float:
    """The frames' worth of tokens that a block attended, out of its row of the trace."""
    return float(sum(trace["parts"]) if "parts" in trace else len(trace["attended"]))
