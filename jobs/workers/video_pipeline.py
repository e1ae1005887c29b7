"""Writes a take's latents to its video while later blocks are generated: one thread decodes, another encodes, in order.

At most two blocks of latents wait for the decoder and two blocks of frames for the encoder. The generating thread waits
when the first queue is full, the decode thread when the second is. An error in either thread stops the other one and is
raised once, unchanged, in the generating thread. Only one thread at a time uses the video: the encode thread inside the
`with` block, the caller before and after it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

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


class VideoPipeline:
    """Call `put` for every block of latents inside the `with` statement; at its end every frame is in the video.

    The decoder must return new arrays, since it decodes the next block while they are encoded.
    """

    def __init__(self, decoder: Decoder, video: VideoWriter):
        self.decode, self.encode, self.wait = Stopwatch(), Stopwatch(), Stopwatch()
        # The stages hold no reference to the pipeline: a cycle would keep the decoder's GPU memory after the take.
        self.encoding = Stage("encode", partial(encode_frames, video, self.encode))
        self.decoding = Stage("decode", partial(decode_block, decoder, self.decode, self.encoding))

    @property
    def timings(self) -> dict[str, float]:
        """Busy seconds of each thread, and `wait`: seconds that the generating thread waited for them."""
        return {"decode": self.decode.seconds, "encode": self.encode.seconds, "wait": self.wait.seconds}

    def __enter__(self) -> VideoPipeline:
        with ExitStack() as stack:
            stack.enter_context(self.encoding)
            stack.enter_context(self.decoding)  # ends first, since it feeds the encode stage
            self.threads = stack.pop_all()
        return self

    def put(self, latents_FCHW: Tensor) -> None:
        """Hand over the next block once the queue has space. Raises the error of a failed thread."""
        from longtake.platform.generation import handoff

        sent = handoff.send(latents_FCHW)
        with self.wait.running():
            self.decoding.put(sent)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until every block is in the video or, after an error, until both threads have stopped."""
        with self.wait.running():
            self.threads.__exit__(kind, error, trace)


def decode_block(decoder: Decoder, watch: Stopwatch, encoding: Stage[np.ndarray], sent: LatentHandoff) -> None:
    """In the decode thread: decode latents, then queue their frames for the encode thread."""
    from longtake.platform.generation import handoff

    handoff.wait(sent)
    with watch.running(), handoff.received(sent) as latents_FCHW:
        frames_NHWC = decoder.push(latents_FCHW)
    if len(frames_NHWC):
        encoding.put(frames_NHWC)


def encode_frames(video: VideoWriter, watch: Stopwatch, frames_NHWC: np.ndarray) -> None:
    """In the encode thread."""
    with watch.running():
        video.write(frames_NHWC)
