"""Records a take while it is generated: every block is written to its video and its trace.

Only a few blocks are in memory at a time. Each take has a decode thread and an encode thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from longtake.jobs.workers.video_pipeline import VideoPipeline
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
    """Call `add` for every block inside the `with` statement, which sets `recording` if it ends without an error."""

    recording: Recording

    def __init__(self, take: Take, writer: TakeWriter, decoder: Decoder, spec: BackboneSpec):
        from longtake.platform.video.writing import VideoWriter

        self.take, self.writer = take, writer
        self.video = VideoWriter(writer.video_path, fps=spec.fps, width=spec.width, height=spec.height)
        self.pipeline = VideoPipeline(decoder, self.video)
        self.attended = list[float]()
        self.peak = rss_bytes()

    def __enter__(self) -> TakeRecorder:
        with ExitStack() as cleanup:
            cleanup.callback(self.video.abort)
            self.trace = cleanup.enter_context(self.writer.trace_path.open("w", encoding="utf-8"))
            self.pipeline.__enter__()
            cleanup.pop_all()
        return self

    def add(self, block: BlockOutput) -> None:
        """Add the next block. Raises the error of an earlier block that could not be decoded or encoded."""
        self.pipeline.put(block.latents)
        self.trace.write(canonical_json(block.trace) + "\n")
        self.attended.append(attended_frames(block.trace))
        self.peak = max(self.peak, rss_bytes())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as cleanup:
            cleanup.callback(self.video.abort)
            with self.trace:
                self.pipeline.__exit__(kind, error, trace)
            if kind is not None:
                return
            self.recording = self.close()
            cleanup.pop_all()

    def close(self) -> Recording:
        with self.pipeline.encode.running():
            info = self.video.close()
        expected = self.take.num_frames
        if info.num_frames != expected:
            raise LongtakeError(f"take {self.take.id}: {info.num_frames} frames were decoded instead of {expected}")
        rows = len(self.attended)
        mean = sum(self.attended[rows // 2 :]) / (rows - rows // 2)
        return Recording(info, rows, mean, self.peak, self.pipeline.timings)


def attended_frames(trace: Mapping[str, Any]) -> float:
    """The frames' worth of tokens that a block attended, out of its row of the trace."""
    return float(sum(trace["parts"]) if "parts" in trace else len(trace["attended"]))
