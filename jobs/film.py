"""A take being filmed: its blocks go to the video and to the trace as they come; what is written last are the facts.

One block of frames is held, never a video. Decoding and encoding are done by a thread of the take's own.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from longtake.jobs.finishing import Finisher
from longtake.platform.errors import LongtakeError
from longtake.platform.process import rss_bytes
from longtake.platform.takes import Take, canonical_json

if TYPE_CHECKING:
    from longtake.platform.backbones.base import BackboneSpec, Decoder
    from longtake.platform.commit import TakeWriter
    from longtake.platform.generation.sampler import BlockOutput
    from longtake.platform.video import VideoInfo


@dataclass(frozen=True)
class Film:
    """A written video: its facts, the rows of its trace, the most memory held after a block, seconds by stage."""

    info: VideoInfo
    trace_rows: int
    peak_rss_bytes: int
    timings: dict[str, float]


class Filming:
    """Give it every block inside its `with` block; when that ends well, `film` has what came of it."""

    film: Film

    def __init__(self, take: Take, writer: TakeWriter, decoder: Decoder, spec: BackboneSpec):
        from longtake.platform.video import VideoWriter

        self.take, self.writer = take, writer
        self.video = VideoWriter(writer.video_path, fps=spec.fps, width=spec.width, height=spec.height)
        self.finisher = Finisher(decoder, self.video)
        self.rows, self.peak = 0, rss_bytes()

    def __enter__(self) -> Filming:
        self.trace = self.writer.trace_path.open("w", encoding="utf-8")
        self.finisher.__enter__()
        return self

    def add(self, block: BlockOutput) -> None:
        """Hand over the next block. Raises what decoding or encoding an earlier one failed with."""
        self.finisher.put(block.latents)
        self.trace.write(canonical_json(block.trace) + "\n")
        self.rows, self.peak = self.rows + 1, max(self.peak, rss_bytes())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as failing:
            failing.callback(self.video.abort)
            with self.trace:
                self.finisher.__exit__(kind, error, trace)
            if kind is not None:
                return
            self.film = self.finished()
            failing.pop_all()

    def finished(self) -> Film:
        with self.finisher.encode.running():
            info = self.video.close()
        due = self.take.num_frames
        if info.num_frames != due:
            raise LongtakeError(f"take {self.take.id}: {info.num_frames} frames came out, {due} were due")
        return Film(info, self.rows, self.peak, self.finisher.timings)
