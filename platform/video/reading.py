"""Reads video files as a stream of frames; holds at most one batch of frames in memory.

An unreadable video raises VideoError with the file and the reason. Headers are checked before anything is decoded.
Decoding does not check integrity: damage.py detects some damage, but a flipped bit may still decode, and only a
checksum of the file detects it.

Shapes: frames_NHWC is uint8 RGB [n, height, width, 3].
"""

from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from longtake.platform.errors import VideoError
from longtake.platform.video import damage
from longtake.platform.video.containers import OpenVideo
from longtake.platform.video.header import VideoHeader, read_header
from longtake.platform.video.orientation import orientation_of


def probe(path: str | Path) -> VideoHeader:
    """The header, checked. Decodes at most the first frame. Raises VideoError with the file and the reason."""
    path = Path(path)
    with OpenVideo(path) as container:
        return read_header(container, path)


def read_frames(path: str | Path, batch: int = 32, threads: int = 1) -> Iterator[np.ndarray]:
    """Yields frames_NHWC of at most `batch` frames. Raises VideoError, also late, when a frame cannot be read.

    `threads`: how many frames of an H.264 video are decoded at a time; other codecs use one thread. It changes neither
    the frames nor the error: if decoding with several threads fails, one thread decodes again, starting with the first
    frame that was not yielded.
    """
    path, num_yielded = Path(path), 0
    if threads > 1:
        with suppress(VideoError):
            for frames_NHWC in _batches(path, batch, threads):
                yield frames_NHWC
                num_yielded += len(frames_NHWC)
            return
    yield from _batches(path, batch, skip=num_yielded)


def _batches(path: Path, batch: int, threads: int = 1, skip: int = 0) -> Iterator[np.ndarray]:
    """Batches of the frames after the first `skip`."""
    header = probe(path)
    with OpenVideo(path) as container:
        frames: list[np.ndarray] = []
        num_frames, clock = 0, _Clock(header, path, _seams(container)) if _has_times(container) else None
        with closing(_decoded(container, path, threads)) as decoded:
            for frame in decoded:
                orientation = orientation_of(frame, path)
                _check_frame(frame, orientation.shown_size(frame.width, frame.height), num_frames, header, path)
                if clock is not None:
                    clock.check(frame.time, num_frames)
                num_frames += 1
                if num_frames > skip:
                    frames.append(orientation.shown(frame.to_ndarray(format="rgb24")))
                if len(frames) == batch:
                    yield np.stack(frames)
                    frames = []
        is_truncated = num_frames < header.num_frames
        if frames and not (is_truncated and threads > 1):  # several threads may miss an error at the end
            yield np.stack(frames)
        if is_truncated:
            raise VideoError(f"{path}: only {num_frames} of {header.num_frames} frames can be read; it is truncated")


def _decoded(container: Any, path: Path, threads: int) -> Generator[Any, None, None]:
    """The frames of the first video stream. Raises VideoError at the first damaged packet."""
    stream = container.streams.video[0]
    codec = stream.codec_context
    several = threads > 1 and codec.name == "h264"
    codec.options = damage.STOP_OPTIONS if several else damage.CHECK_OPTIONS
    codec.thread_type, codec.thread_count = ("FRAME", threads) if several else ("SLICE", 1)
    length_size = damage.length_bytes(codec.name, codec.extradata or b"")
    try:
        for index, packet in enumerate(container.demux(stream)):
            if packet.is_corrupt or (length_size and damage.is_damaged(bytes(packet), length_size)):
                raise VideoError(f"{path}: packet {index} is damaged; make the video again")
            # H.264 has no checksums, and capturing the log would make the decoder's threads wait for the GIL.
            with nullcontext() if several else damage.wrong_checksums() as wrong:
                frames = packet.decode()
            if wrong:
                raise VideoError(f"{path}: packet {index} is damaged ({wrong[0]}); make the video again")
            yield from frames
    finally:
        if several:  # freeing the decoder holds the GIL, which its threads need in order to log
            codec.flush_buffers()


def _check_frame(frame: Any, shown: tuple[int, int], index: int, header: VideoHeader, path: Path) -> None:
    if shown != (header.width, header.height):
        declared = f"{header.width}x{header.height}"
        raise VideoError(f"{path}: frame {index} has {shown[0]}x{shown[1]} px, the header declares {declared}")
    if frame.is_corrupt:
        raise VideoError(f"{path}: frame {index} is damaged")


def _has_times(container: Any) -> bool:
    """Whether frames have reliable times. AVI stores only the order of packets, which B-frames change."""
    return bool(container.format.name != "avi" or not container.streams.video[0].codec_context.has_b_frames)


def _seams(container: Any) -> int:
    """How often hidden frames lie between shown ones: an upper limit of the seams between the parts of an edit list."""
    hidden = [entry.is_discard for entry in container.streams.video[0].index_entries]
    joined = [before and not after for before, after in pairwise(hidden)]
    return max(0, sum(joined) - bool(hidden and hidden[0]))


class _Clock:
    """Checks that frames are equally spaced, from one to the next and over the whole video. The first frame may start
    after 0 s, as in a video that was cut out of another. At the seams of an edit list, the demuxer is off by up to a
    frame, because it counts in decoding order."""

    def __init__(self, header: VideoHeader, path: Path, seams: int) -> None:
        self.fps, self.path, self.seams = header.fps, path, seams
        self.first = self.last = 0.0

    def check(self, seconds: float | None, index: int) -> None:
        if index == 0 and seconds is not None:
            self.first = self.last = seconds
            return
        shift = 0.0 if seconds is None else seconds - self.last - 1 / self.fps
        if self.seams and self._near(abs(shift), 1):
            self.first, self.last, self.seams = self.first + shift, self.last + shift, self.seams - 1
        if seconds is None or not (self._near(seconds - self.first, index) and self._near(seconds - self.last, 1)):
            raise VideoError(
                f"{self.path}: frame {index} is not {index / self.fps:.3f} s after the first and one frame after the "
                "previous one; a constant frame rate is needed"
            )
        self.last = seconds

    def _near(self, seconds: float, frames: int) -> bool:
        return abs(seconds * self.fps - frames) <= 0.5
