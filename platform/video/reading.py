"""Reads video files as a stream of frames; holds at most one batch of frames in memory.

An unreadable video raises VideoError with the file and the reason. Headers are checked before anything is decoded.
Decoding does not check integrity: damage.py detects some damage, but a flipped bit may still decode, and only a
checksum of the file detects it.

Shapes: frames_NHWC is uint8 RGB [n, height, width, 3].
"""

from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from longtake.platform.errors import VideoError
from longtake.platform.video import damage

MAX_SIDE_PX = 4096
MAX_FPS = 240
SPARE_SECONDS, SPARE_BESIDE_SOUND_SECONDS = 0.25, 1.0  # sound may last longer than the frames
FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "matroska", ".avi": "avi"}


@dataclass(frozen=True)
class VideoHeader:
    """The metadata in a video's header, and the size of the file."""

    num_frames: int
    fps: float
    width: int
    height: int
    bytes: int


def probe(path: str | Path) -> VideoHeader:
    """The header, checked; decodes nothing. Raises VideoError with the file and the reason."""
    path = Path(path)
    with _Reading(path) as container:
        return _header(container, path)


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
    with _Reading(path) as container:
        header = _header(container, path)
        frames: list[np.ndarray] = []
        num_frames, clock = 0, _Clock(header, path) if _has_times(container) else None
        with closing(_decoded(container, path, threads)) as decoded:
            for frame in decoded:
                _check_frame(frame, num_frames, header, path)
                if clock is not None:
                    clock.check(frame.time, num_frames)
                num_frames += 1
                if num_frames > skip:
                    frames.append(frame.to_ndarray(format="rgb24"))
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


class _Reading:
    """Opens a container and converts all errors inside the `with` block to VideoError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Any:
        try:
            if not self.path.is_file():
                raise VideoError(f"{self.path}: no such file")
            if self.path.stat().st_size == 0:
                raise VideoError(f"{self.path}: is empty (0 bytes)")
            if self.path.suffix.lower() not in FORMATS:
                raise VideoError(
                    f"{self.path}: unknown file extension {self.path.suffix!r}; known: {', '.join(FORMATS)}"
                )
            options = {"max_pixels": str(MAX_SIDE_PX * MAX_SIDE_PX), "protocol_whitelist": "file"}
            form = FORMATS[self.path.suffix.lower()]
            self.container = av.open(str(self.path.absolute()), format=form, options=options)
        except Exception as error:  # a demuxer fails in more ways than PyAV's own errors
            raise self._as_video_error(error) from error
        return self.container

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.container.close()
        except Exception:
            if error is None:  # otherwise the first error is the one to report
                raise
        if error is not None and isinstance(error, Exception):
            raise self._as_video_error(error) from error

    def _as_video_error(self, error: Exception) -> VideoError:
        if isinstance(error, VideoError):
            return error
        # PyAV adds the last log line only if it is new to the process; a reason must not depend on earlier videos.
        reason = " ".join(str(error).partition("; last error log")[0].split())
        return VideoError(f"{self.path}: cannot be read as a video: {reason or type(error).__name__}")


def _header(container: Any, path: Path) -> VideoHeader:
    if not container.streams.video:
        raise VideoError(f"{path}: has no video stream")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise VideoError(f"{path}: no decoder is installed for its codec; encode it again, for example as H.264")
    width, height = stream.codec_context.width, stream.codec_context.height
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
        raise VideoError(f"{path}: declares {width}x{height} px; the limit is {MAX_SIDE_PX}x{MAX_SIDE_PX} px")
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    if not 0 < fps <= MAX_FPS:
        raise VideoError(f"{path}: declares {fps:g} frames a second; it must be above 0 and at most {MAX_FPS}")
    num_frames = stream.frames or _count_packets(container, stream)
    if num_frames < 1:
        raise VideoError(f"{path}: has no frames")
    if not stream.frames:
        _check_length(container, num_frames / fps, path)
    return VideoHeader(num_frames, fps, width, height, path.stat().st_size)


def _check_length(container: Any, seconds: float, path: Path) -> None:
    """For containers without a frame count. Raises VideoError if the frames are shorter than the declared duration."""
    declared = ((container.duration or 0) - max(0, container.start_time or 0)) / av.time_base
    alone = len(container.streams) == 1
    if seconds < declared - (SPARE_SECONDS if alone else SPARE_BESIDE_SOUND_SECONDS):
        raise VideoError(f"{path}: contains {seconds:.2f} s of the declared {declared:.2f} s; it is truncated")


def _count_packets(container: Any, stream: Any) -> int:
    """The number of frames for containers that do not store it, such as Matroska."""
    num_packets = sum(1 for packet in container.demux(stream) if packet.size)
    container.seek(0)
    return num_packets


def _check_frame(frame: Any, index: int, header: VideoHeader, path: Path) -> None:
    if (frame.width, frame.height) != (header.width, header.height):
        declared = f"{header.width}x{header.height}"
        raise VideoError(f"{path}: frame {index} has {frame.width}x{frame.height} px, the header declares {declared}")
    if frame.is_corrupt:
        raise VideoError(f"{path}: frame {index} is damaged")


def _has_times(container: Any) -> bool:
    """Whether frames have reliable times. AVI stores only the order of packets, which B-frames change."""
    return bool(container.format.name != "avi" or not container.streams.video[0].codec_context.has_b_frames)


class _Clock:
    """Checks that frames are equally spaced, from one to the next and over the whole video. The first frame may start
    after 0 s, as in a video that was cut out of another."""

    def __init__(self, header: VideoHeader, path: Path) -> None:
        self.fps, self.path = header.fps, path
        self.first = self.last = 0.0

    def check(self, seconds: float | None, index: int) -> None:
        if index == 0 and seconds is not None:
            self.first = self.last = seconds
        elif seconds is None or not (self._near(seconds - self.first, index) and self._near(seconds - self.last, 1)):
            raise VideoError(
                f"{self.path}: frame {index} is not {index / self.fps:.3f} s after the first and one frame after the "
                "previous one; a constant frame rate is needed"
            )
        self.last = seconds

    def _near(self, seconds: float, frames: int) -> bool:
        return abs(seconds * self.fps - frames) <= 0.5
