"""The header of a video: number, rate and size of the frames that a player shows. Checked before frames are decoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av

from longtake.platform.errors import VideoError
from longtake.platform.video.containers import MAX_SIDE_PX, MOV, OpenVideo
from longtake.platform.video.orientation import UPRIGHT, Orientation, orientation_of

MIN_FPS, MAX_FPS = 1, 240
SPARE_SECONDS, SPARE_BESIDE_OTHERS_SECONDS = 0.25, 1.0
"""How much shorter than declared a video may be, alone and beside sound or subtitles."""


@dataclass(frozen=True)
class VideoHeader:
    """Frames as a player shows them, and the size of the file. `turned`: how frames are turned to be shown, in words;
    empty for frames that are shown as they are stored."""

    num_frames: int
    fps: float
    width: int
    height: int
    bytes: int
    turned: str = field(default="", kw_only=True)


def read_header(container: Any, path: Path) -> VideoHeader:
    """The header of an open container, which cannot be used for anything else afterwards. Raises VideoError."""
    if not container.streams.video:
        raise VideoError(f"{path}: has no video stream")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise VideoError(f"{path}: no decoder is installed for its codec; encode it again, for example as H.264")
    width, height = stream.codec_context.width, stream.codec_context.height
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
        raise VideoError(f"{path}: declares {width}x{height} px; the limit is {MAX_SIDE_PX}x{MAX_SIDE_PX} px")
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    check_fps(fps, path)
    num_frames = _shown_frames(container, stream, path) or _demuxed_frames(container, stream, fps, path)
    if num_frames < 1:
        raise VideoError(f"{path}: has no frames")
    orientation = _first_orientation(container, path)
    width, height = orientation.shown_size(width, height)
    return VideoHeader(num_frames, fps, width, height, path.stat().st_size, turned=str(orientation))


def check_fps(fps: float, path: Path) -> None:
    """The only limit of frame rates. Raises VideoError."""
    if not MIN_FPS <= fps <= MAX_FPS:
        raise VideoError(
            f"{path}: has {fps:g} frames a second; {MIN_FPS} to {MAX_FPS} are read; encode it again at such a rate"
        )


def _shown_frames(container: Any, stream: Any, path: Path) -> int:
    """The number of frames by the container's own index; 0 for containers without one.

    An edit list of an MP4 or MOV hides frames. They remain in the sample table, because others are predicted from them,
    so that the number of samples is too large. The demuxer applies the list to its index and marks what is hidden.
    A header that declares more samples than it lists is damaged, and its number stands.
    """
    if not stream.frames or MOV not in container.format.name.split(","):
        return int(stream.frames)
    shown = sum(not entry.is_discard for entry in stream.index_entries)
    if shown != stream.frames:
        with OpenVideo(path, ignore_editlist="1") as unedited:
            if len(unedited.streams.video[0].index_entries) < stream.frames:
                return int(stream.frames)
    return shown


def _demuxed_frames(container: Any, stream: Any, fps: float, path: Path) -> int:
    """The number of frames, by reading every packet, for containers that do not store it, such as Matroska.

    Raises VideoError if all streams end before the declared duration. Sound may last longer than the frames; only a
    truncated file has no stream of that length.
    """
    num_frames, end = 0, 0.0
    for packet in container.demux():
        if not packet.size:
            continue
        num_frames += packet.stream is stream and not packet.is_discard
        time = packet.pts if packet.pts is not None else packet.dts
        if time is not None:
            end = max(end, float((time + (packet.duration or 0)) * packet.time_base))
    start = max(0.0, (container.start_time or 0) / av.time_base)
    declared, found = (container.duration or 0) / av.time_base - start, max(end - start, num_frames / fps)
    if found < declared - (SPARE_SECONDS if len(container.streams) == 1 else SPARE_BESIDE_OTHERS_SECONDS):
        raise VideoError(f"{path}: contains {found:.2f} s of the declared {declared:.2f} s; it is truncated")
    return num_frames


def _first_orientation(container: Any, path: Path) -> Orientation:
    """The orientation of the first frame. If it cannot be decoded, upright: decoding then fails with the reason."""
    container.seek(0)
    container.streams.video[0].codec_context.thread_count = 1
    try:
        frame = next(container.decode(video=0), None)
    except av.FFmpegError:
        frame = None
    return UPRIGHT if frame is None else orientation_of(frame, path)
