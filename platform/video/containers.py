"""Containers of video: which files are videos, and what a file holds. The content decides, not the name.

Owns the list of endings, so that a folder has the same videos on every machine. Opens containers for reading.py.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import av

from longtake.platform.errors import VideoError

MAX_SIDE_PX = 4096
MOV, MATROSKA, AVI = "mov", "matroska", "avi"
ENDINGS = {".mp4": MOV, ".m4v": MOV, ".mov": MOV, ".mkv": MATROSKA, ".webm": MATROSKA, ".avi": AVI}
"""Ending -> the container that files with it should hold."""
# fmt: off
OTHER_ENDINGS = frozenset([
    ".3g2", ".3gp", ".amv", ".apng", ".asf", ".av1", ".bik", ".divx", ".dv", ".f4v", ".flv", ".gif", ".gifv", ".h264",
    ".h265", ".hevc", ".ivf", ".m1v", ".m2t", ".m2ts", ".m2v", ".mjpeg", ".mjpg", ".mpe", ".mpeg", ".mpg", ".mts",
    ".mxf", ".nut", ".obu", ".ogg", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".swf", ".ts", ".vob", ".webp", ".wmv",
    ".y4m", ".yuv",
])
# fmt: on
"""Endings of videos and animations that are not read."""
UNFINISHED_ENDINGS = frozenset([".crdownload", ".download", ".filepart", ".part", ".partial", ".temp", ".tmp"])

NAMES = {MOV: "MP4 or MOV", MATROSKA: "Matroska or WebM", AVI: "AVI"}
_BOXES = (b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"sidx", b"free", b"skip", b"wide", b"pnot", b"uuid")
_OTHERS = {
    b"GIF8": "a GIF image",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"FLV": "Flash video",
    b"OggS": "Ogg",
    b"0&\xb2u": "Windows Media",
    b"\x00\x00\x01\xba": "MPEG",
    b"G@": "an MPEG transport stream",
    b"<": "text",
    b"{": "text",
    b"version https://git-lfs": "a pointer of Git LFS; run git lfs pull",
}


def container_of(path: Path) -> str | None:
    """MOV, MATROSKA or AVI by the first bytes of a file; None for other content. Raises OSError."""
    head = _head(path)
    if head[4:8] in _BOXES:
        return MOV
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return MATROSKA
    return AVI if head[:4] == b"RIFF" and head[8:12] == b"AVI " else None


def content_of(path: Path) -> str | None:
    """What a file holds, for a message; None if it is not known. Raises OSError."""
    if (container := container_of(path)) is not None:
        return NAMES[container]
    head = _head(path)
    return next((name for start, name in _OTHERS.items() if head.startswith(start)), None)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(32)


class OpenVideo:
    """Opens a container and converts all errors inside the `with` block to VideoError. `options`: of the demuxer."""

    def __init__(self, path: Path, **options: str) -> None:
        self.path, self.options = path, options

    def __enter__(self) -> Any:
        try:
            if not self.path.is_file():
                raise VideoError(f"{self.path}: no such file")
            if self.path.stat().st_size == 0:
                raise VideoError(f"{self.path}: is empty (0 bytes)")
            ending = self.path.suffix.lower()
            if ending not in ENDINGS:
                raise VideoError(
                    f"{self.path}: unknown file extension {self.path.suffix!r}; known: {', '.join(ENDINGS)}"
                )
            options = {"max_pixels": str(MAX_SIDE_PX * MAX_SIDE_PX), "protocol_whitelist": "file"} | self.options
            form = container_of(self.path) or ENDINGS[ending]  # never one that leads to other files, such as a playlist
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
        with suppress(OSError):
            content = content_of(self.path)
            if content is not None and content not in NAMES.values():
                return VideoError(f"{self.path}: cannot be read as a video: it holds {content}")
        # PyAV adds the last log line only if it is new to the process; a reason must not depend on earlier videos.
        text = str(error).partition("; last error log")[0].replace(f": '{self.path.absolute()}'", "")
        reason = " ".join(text.split())
        return VideoError(f"{self.path}: cannot be read as a video: {reason or type(error).__name__}")
