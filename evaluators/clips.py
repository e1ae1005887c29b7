"""The 2 s clip protocol of VBench-Long, streamed.

A clip has 2 * int(fps) frames; N frames make N // (2 int(fps)) clips. A remainder adds one clip of the LAST
2 * int(fps) frames, which overlaps the clip before it. A shorter video is one short clip. Every frame is decoded once.
Memory is two clips (the buffered frames and the last overlapping clip), whatever the length of the video.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from longtake.evaluators.views import ClipView, Frames
from longtake.platform.errors import VideoError

CLIP_SECONDS = 2
MAX_CLIP_BYTES = 2 << 30


def clip_frames(fps: float, width: int, height: int, path: Path) -> int:
    """Frames per clip. Raises VideoError for a frame rate that is not read or a clip of more than MAX_CLIP_BYTES."""
    from longtake.platform.video.header import check_fps  # loads av

    check_fps(fps, path)
    length = CLIP_SECONDS * int(fps)
    size = length * width * height * 3
    if size > MAX_CLIP_BYTES:
        raise VideoError(
            f"{path.name}: a 2 s clip of {width}x{height} at {fps:g} fps is {size >> 20} MiB, the limit is "
            f"{MAX_CLIP_BYTES >> 20} MiB; scale the video down first"
        )
    return length


def iter_clips(batches: Iterable[Frames], fps: float, length: int, path: Path) -> Iterator[ClipView]:
    """Views in order. The next iteration overwrites the frames of a view."""
    ring: Frames | None = None
    seen = 0
    for batch in batches:
        for frame in batch:
            if ring is None:
                ring = np.empty((length, *frame.shape), dtype=np.uint8)
            if frame.shape != ring.shape[1:]:
                raise VideoError(
                    f"{path.name}: frame {seen} is {_size(frame)}, the first is {_size(ring[0])}; re-encode it"
                )
            ring[seen % length] = frame
            seen += 1
            if seen % length == 0:
                yield _view(ring, seen - length, fps)
    rest = seen % length
    if ring is None:
        raise VideoError(f"{path.name}: no frame could be decoded; make the video again")
    if rest and seen < length:
        yield _view(ring[:seen], 0, fps)
    elif rest:
        yield _view(np.concatenate([ring[rest:], ring[:rest]]), seen - length, fps, length - rest)


def _view(frames: Frames, start: int, fps: float, shared: int = 0) -> ClipView:
    lent = frames.view()
    lent.flags.writeable = False
    return ClipView(lent, start, fps, shared > 0, shared)


def _size(frame: Frames) -> str:
    return f"{frame.shape[1]}x{frame.shape[0]}"
