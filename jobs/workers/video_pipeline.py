"""Writes latents to videos while later blocks are generated: one thread decodes, one per video encodes, in order.

Several videos share the decoder if they begin with the same frames; each ends after a block of its own. At most two
blocks of latents wait for the decoder and two blocks of frames for each encoder. The generating thread waits when the
first queue is full, the decode thread when one of the others is. An error in a thread stops the others and is raised
once, unchanged, in the generating thread. Only one thread at a time uses a video: its encode thread inside the `with`
block until `finish`, the caller before and after that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

from longtake.jobs.workers.stage import Stage

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from longtake.platform.backbones.base import Decoder
    from longtake.platform.generation.handoff import LatentHandoff
    from longtake.platform.video.writing import VideoWriter


class Stopwatch:
    """Wall seconds spent inside `running` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started


Encoding: TypeAlias = "Stage[np.ndarray]"
Block: TypeAlias = "tuple[LatentHandoff, tuple[Encoding, ...]]"
"""Latents for the decode thread, and the encode stages that get their frames."""


class VideoPipeline:
    """Call `put` for every block of latents inside the `with` statement; at its end every frame is in the videos.

    The decoder must return new arrays, since it decodes the next block while they are encoded.
    """

    def __init__(self, decoder: Decoder, *videos: VideoWriter):
        self.decode, self.wait = Stopwatch(), Stopwatch()
        self.encode = [Stopwatch() for _ in videos]
        # The stages hold no reference to the pipeline: a cycle would keep the decoder's GPU memory after the take.
        self.encoding: list[Encoding] = [
            Stage("encode", partial(encode_frames, video, watch))
            for video, watch in zip(videos, self.encode, strict=True)
        ]
        self.decoding: Stage[Block] = Stage("decode", partial(decode_block, decoder, self.decode))
        self.open = dict(enumerate(self.encoding))

    def timings(self, video: int) -> dict[str, float]:
        """Busy seconds of the decoder so far and of the video's encoder, and `wait`: seconds that the generating thread
        waited for the threads."""
        return {"decode": self.decode.seconds, "encode": self.encode[video].seconds, "wait": self.wait.seconds}

    def __enter__(self) -> VideoPipeline:
        with ExitStack() as stack:
            for encoding in self.encoding:
                stack.enter_context(encoding)
            stack.enter_context(self.decoding)  # ends first, since it feeds the encode stages
            self.threads = stack.pop_all()
        return self

    def put(self, latents_FCHW: Tensor) -> None:
        """Hand over the next block once the queue has space. Raises the error of a failed thread."""
        from longtake.platform.generation import handoff

        sent = handoff.send(latents_FCHW)
        with self.wait.running():
            self.decoding.put((sent, tuple(self.open.values())))

    def finish(self, video: int) -> None:
        """Wait until all blocks so far are in this video, which gets no more. Raises the error of a failed thread."""
        with self.wait.running():
            self.decoding.flush()
            self.open.pop(video).__exit__(None, None, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until every block is in the videos or, after an error, until all threads have stopped."""
        with self.wait.running():
            self.threads.__exit__(kind, error, trace)


def decode_block(decoder: Decoder, watch: Stopwatch, block: Block) -> None:
    """In the decode thread: decode latents, then queue their frames for the encode threads."""
    from longtake.platform.generation import handoff

    sent, videos = block
    handoff.wait(sent)
    with watch.running(), handoff.received(sent) as latents_FCHW:
        frames_NHWC = decoder.push(latents_FCHW)
    for encoding in videos if len(frames_NHWC) else ():
        encoding.put(frames_NHWC)


def encode_frames(video: VideoWriter, watch: Stopwatch, frames_NHWC: np.ndarray) -> None:
    """In the encode thread of the video."""
    with watch.running():
        video.write(frames_NHWC)
