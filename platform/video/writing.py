"""Writes a stream of frames to a video file: H.264, yuv420p, crf 18, one key frame a second, faststart.

The same frames give the same bytes on one machine (`x264.py`). Shapes: frames_NHWC is uint8 RGB [n, height, width, 3].
"""

import errno
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.codec.context import Flags

from longtake.platform.digest import file_sha256
from longtake.platform.errors import StorageError, VideoError
from longtake.platform.video.containers import MAX_SIDE_PX
from longtake.platform.video.header import VideoHeader
from longtake.platform.video.x264 import reproducible_params


@dataclass(frozen=True)
class VideoInfo(VideoHeader):
    """A written video: its header and the checksum of the whole file."""

    sha256: str


class VideoWriter:
    """Encodes frames as they are written. An exception in the `with` block removes the file."""

    def __init__(self, path: Path, fps: int = 16, width: int = 128, height: int = 128) -> None:
        """Raises VideoError for a size that yuv420p does not support, StorageError if the file cannot be created."""
        if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX and width % 2 == 0 and height % 2 == 0):
            raise VideoError(f"{path}: {width}x{height} px; both sides must be even and at most {MAX_SIDE_PX}")
        self.path = Path(path)
        self.fps, self.width, self.height = fps, width, height
        self.num_frames = 0
        self.info: VideoInfo | None = None
        self._container: Any = None
        options = {"movflags": "+faststart", "fflags": "+bitexact"}
        with _writing(self.path):
            self.path.open("wb").close()  # fail now, because the encoder opens the file late
            self._container = av.open(str(self.path.absolute()), "w", format="mp4", options=options)
            self._stream = self._open_stream()

    def _open_stream(self) -> Any:
        options = {"crf": "18", "preset": "veryfast", "g": str(self.fps), "x264-params": reproducible_params()}
        stream = self._container.add_stream("libx264", rate=self.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = self.width, self.height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, self.fps)
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= Flags.bitexact
        return stream

    def write(self, frames_NHWC: np.ndarray) -> None:
        """Appends frames; does not keep or change them. Raises VideoError for another size or type."""
        expected = (self.height, self.width, 3)
        if frames_NHWC.dtype != np.uint8 or frames_NHWC.ndim != 4 or frames_NHWC.shape[1:] != expected:
            shape = f"{frames_NHWC.dtype} {list(frames_NHWC.shape)}"
            raise VideoError(f"{self.path}: frames are {shape}; expected uint8 [n, {self.height}, {self.width}, 3]")
        with _writing(self.path):
            for frame_HWC in frames_NHWC:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
                frame.pts = self.num_frames
                frame.time_base = Fraction(1, self.fps)
                self._container.mux(self._stream.encode(frame))
                self.num_frames += 1

    def close(self) -> VideoInfo:
        """Finish the file and return its header and checksum. Raises VideoError if no frame was written."""
        if self.info is not None:
            return self.info
        if self.num_frames == 0:
            self.abort()
            raise VideoError(f"{self.path}: no frame was written; a video needs at least one")
        with _writing(self.path):
            self._container.mux(self._stream.encode(None))
            self._container.close()
            size = self.path.stat().st_size
            digest = file_sha256(self.path)
        self.info = VideoInfo(self.num_frames, float(self.fps), self.width, self.height, size, digest)
        return self.info

    def abort(self) -> None:
        """Delete the file. Safe to call twice."""
        if self.info is None and self._container is not None:
            with suppress(OSError, ValueError, av.FFmpegError):
                self._container.close()
            self.path.unlink(missing_ok=True)
            self._container = None

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM}


class _writing:
    """Converts errors of the disk to StorageError and errors of the encoder to VideoError; both name the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        reason = f"{self.path}: the video cannot be written: {' '.join(str(error).split())}"
        if isinstance(error, OSError) or getattr(error, "errno", None) in DISK_ERRORS:
            raise StorageError(reason) from error
        if isinstance(error, av.FFmpegError):
            raise VideoError(reason) from error
