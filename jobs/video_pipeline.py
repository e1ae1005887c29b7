"""Latents of a take into its video, beside the generation: one thread decodes, another encodes, both in order.

At most two blocks of latents wait for the decoder and two blocks of frames for the encoder; the generating thread waits
when the first queue is full, the decoding thread when the second is. An error of either thread stops the other one and
reaches the generating thread once, as it is. Only one thread at a time touches the video: the encoding one inside the
`with` block, the caller before and after it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from longtake.jobs.stage import Stage

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from longtake.platform.backbones.base import Decoder
    from longtake.platform.generation.handoff import LatentHandoff
    from longtake.platform.video import VideoWriter


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


class VideoPipeline:
    """Put every block of latents into it inside its `with` block; at the end of that, every frame is in the video.

    The decoder's frames must be arrays of their own: the next block is decoded while they are encoded.
    """

    def __init__(self, decoder: Decoder, video: VideoWriter):
        self.decode, self.encode, self.wait = Stopwatch(), Stopwatch(), Stopwatch()
        # The stages do not refer to the pipeline: in a cycle, the decoder's GPU memory would outlive the take.
        self.encoding = Stage("encode", partial(encode_frames, video, self.encode))
        self.decoding = Stage("decode", partial(decode_block, decoder, self.decode, self.encoding))

    @property
    def timings(self) -> dict[str, float]:
        """Seconds at work of each thread, and `wait`: how long the generating thread was held back."""
        return {"decode": self.decode.seconds, "encode": self.encode.seconds, "wait": self.wait.seconds}

    def __enter__(self) -> VideoPipeline:
        with ExitStack() as started:
            started.enter_context(self.encoding)
            started.enter_context(self.decoding)  # ends first: it feeds the other
            self.threads = started.pop_all()
        return self

    def put(self, latents_FCHW: Tensor) -> None:
        """Hand over the next block, once there is room. Raises the error of a thread that failed."""
        from longtake.platform.generation import handoff

        sent = handoff.send(latents_FCHW)
        with self.wait.running():
            self.decoding.put(sent)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until every block is in the video, or, after an error, until both threads have stopped."""
        with self.wait.running():
            self.threads.__exit__(kind, error, trace)


def decode_block(decoder: Decoder, watch: Stopwatch, encoding: Stage[np.ndarray], sent: LatentHandoff) -> None:
    """On the decode thread: latents to frames, which then wait for the encode thread."""
    from longtake.platform.generation import handoff

    handoff.wait(sent)
    with watch.running(), handoff.received(sent) as latents_FCHW:
        frames_NHWC = decoder.push(latents_FCHW)
    if len(frames_NHWC):
        encoding.put(frames_NHWC)


def encode_frames(video: VideoWriter, watch: Stopwatch, frames_NHWC: np.ndarray) -> None:
    """On the encode thread."""
    with watch.running():
        video.write(frames_NHWC)
