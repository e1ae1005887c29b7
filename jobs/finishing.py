"""One thread that decodes and encodes the blocks of a take, in order, while the next ones are made.

At most two blocks wait for it; who brings a third waits. When it fails, the next `put`, or the end of the `with` block,
raises its error as it is, once. When the other side fails, what waits is dropped. It never outlives the `with` block.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Thread
from types import TracebackType
from typing import TYPE_CHECKING

from longtake.platform.process import set_up_computing

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.platform.backbones.base import Decoder
    from longtake.platform.generation.handoff import Parcel
    from longtake.platform.video import VideoWriter

MOST_WAITING = 2


class Clock:
    """Seconds spent inside `running` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started


class Finisher:
    """Latents in, frames into the video. `decode` and `encode` clock the thread, `wait` who brings the blocks."""

    def __init__(self, decoder: Decoder, video: VideoWriter):
        self.decoder, self.video = decoder, video
        self.decode, self.encode, self.wait = Clock(), Clock(), Clock()
        self.waiting: deque[Parcel] = deque()
        self.changed = Condition()
        self.ended = False
        self.error: BaseException | None = None
        self.thread = Thread(target=self.work, name="finisher", daemon=True)

    @property
    def timings(self) -> dict[str, float]:
        return {"decode": self.decode.seconds, "encode": self.encode.seconds, "wait": self.wait.seconds}

    def __enter__(self) -> Finisher:
        self.thread.start()
        return self

    def put(self, latents: Tensor) -> None:
        """Hand over the next block, once there is room. Raises what the thread failed with."""
        from longtake.platform.generation import handoff

        parcel = handoff.send(latents)
        with self.wait.running(), self.changed:
            self.changed.wait_for(lambda: self.error is not None or len(self.waiting) < MOST_WAITING)
            self.waiting.append(parcel)
            self.changed.notify_all()
        self.raise_error()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until every block is in the video, or, behind an error, until the thread has stopped."""
        try:
            with self.wait.running():
                self.end(drop=kind is not None)
        except BaseException:
            self.end(drop=True)
            raise
        if kind is None:
            self.raise_error()

    def end(self, drop: bool) -> None:
        with self.changed:
            self.ended = True
            if drop:
                self.waiting.clear()
            self.changed.notify_all()
        self.thread.join()
        if drop:
            self.error = None

    def raise_error(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error

    def work(self) -> None:
        """The thread: until the end is told and nothing waits, or until it fails."""
        try:
            set_up_computing()
            while (parcel := self.take()) is not None:
                self.finish(parcel)
        except BaseException as error:
            with self.changed:
                self.error = error
                self.changed.notify_all()

    def take(self) -> Parcel | None:
        with self.changed:
            self.changed.wait_for(lambda: bool(self.waiting) or self.ended)
            parcel = self.waiting.popleft() if self.waiting else None
            self.changed.notify_all()
        return parcel

    def finish(self, parcel: Parcel) -> None:
        from longtake.platform.generation import handoff

        handoff.wait(parcel)
        with self.decode.running(), handoff.received(parcel) as latents:
            frames = self.decoder.push(latents)
        if len(frames):
            with self.encode.running():
                self.video.write(frames)
