"""Frames of a take's video as small JPEGs: one frame by its index, or several side by side.

A video has one key frame per second, so a frame costs at most one second of decoding. At most two videos are decoded at
a time. The latest images are cached by the checksum of the video.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.platform.errors import ConfigError, LongtakeError, VideoError
from longtake.platform.video.reading import probe

if TYPE_CHECKING:
    from PIL.Image import Image

    from longtake.platform.store.records import TakeResult

KEPT_BYTES = 64 << 20
QUALITY = 85
DECODERS = threading.BoundedSemaphore(2)


class Pictures:
    """A cache of JPEGs of at most `limit` bytes, which evicts the least recently used."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self.limit, self.bytes = limit, 0
        self.kept: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
        self.lock = threading.Lock()

    def frame(self, path: Path, result: TakeResult, index: int, width: int) -> bytes:
        """Frame `index` of the video, `width` pixels wide. Raises ConfigError, VideoError."""
        if index >= result.num_frames:
            raise ConfigError(f"index: the video has {result.num_frames} frames; give 0 to {result.num_frames - 1}")
        return self.get((result.video_sha256, index, width), lambda: jpeg(images(path, [index], width)))

    def strip(self, path: Path, result: TakeResult, count: int, width: int) -> bytes:
        """`count` frames from the first to the last, each `width` wide, side by side. Raises VideoError."""
        indices = spaced(result.num_frames, count)
        return self.get((result.video_sha256, "strip", count, width), lambda: jpeg(images(path, indices, width)))

    def get(self, key: tuple[Any, ...], make: Callable[[], bytes]) -> bytes:
        with self.lock:
            if key in self.kept:
                self.kept.move_to_end(key)
                return self.kept[key]
        with DECODERS:
            data = make()
        with self.lock:
            self.bytes += len(data) - len(self.kept.get(key, b""))
            self.kept[key] = data
            while self.bytes > self.limit:
                self.bytes -= len(self.kept.popitem(last=False)[1])
        return data


def spaced(num_frames: int, count: int) -> list[int]:
    """The indices of the middle frames of `count` equal parts of the video."""
    return [int((part + 0.5) * num_frames / count) for part in range(count)]


def images(path: Path, indices: list[int], width: int) -> list[Image]:
    """The frames at ascending indices, scaled to `width`. Raises VideoError with the reason."""
    import av

    probe(path)  # check the header before decoding
    try:
        with av.open(str(path.absolute()), format="mp4", options={"protocol_whitelist": "file"}) as container:
            return [scaled(decode_frame(container, index), width) for index in indices]
    except LongtakeError:
        raise
    except Exception as error:  # decoders raise more than PyAV's own errors
        raise VideoError(f"{path.name}: a frame cannot be decoded ({type(error).__name__})") from error


def decode_frame(container: Any, index: int) -> Image:
    """Frame `index`, decoded from the key frame before it."""
    stream = container.streams.video[0]
    ticks = 1 / (float(stream.average_rate) * float(stream.time_base))  # per frame
    first = stream.start_time or 0
    container.seek(round(first + index * ticks), stream=stream)
    for frame in container.decode(stream):
        if frame.pts is not None and round((frame.pts - first) / ticks) >= index:
            image: Image = frame.to_image()
            return image
    raise VideoError(f"frame {index} is not in the video")


def scaled(image: Image, width: int) -> Image:
    from PIL import Image as pil_image

    height = max(1, round(image.height * width / image.width))
    return image.resize((width, height), pil_image.Resampling.LANCZOS)


def jpeg(row: list[Image]) -> bytes:
    """The images side by side."""
    from PIL import Image as pil_image

    sheet = pil_image.new("RGB", (sum(image.width for image in row), max(image.height for image in row)))
    left = 0
    for image in row:
        sheet.paste(image, (left, 0))
        left += image.width
    data = io.BytesIO()
    sheet.save(data, format="JPEG", quality=QUALITY)
    return data.getvalue()
