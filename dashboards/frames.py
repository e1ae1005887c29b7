"""Single frames of a take's video as small JPEGs: one by its index, or some side by side.

A video has a key frame a second, so a frame costs at most a second of decoding. At most two videos are decoded at a
time, and the last pictures are kept by the video's checksum.
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
    """JPEG bytes by what they show; the least used go first when they exceed `limit` bytes."""

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
        wanted = spaced(result.num_frames, count)
        return self.get((result.video_sha256, "strip", count, width), lambda: jpeg(images(path, wanted, width)))

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
    """The middle frames of `count` equal parts of the video: each stands over its own part."""
    return [int((place + 0.5) * num_frames / count) for place in range(count)]


def images(path: Path, wanted: list[int], width: int) -> list[Image]:
    """The frames of the rising indices, scaled. Raises VideoError with the reason."""
    import av

    probe(path)  # the header is checked before anything is decoded
    try:
        with av.open(str(path.absolute()), format="mp4", options={"protocol_whitelist": "file"}) as container:
            return [scaled(seek(container, index), width) for index in wanted]
    except LongtakeError:
        raise
    except Exception as error:  # a decoder fails in more ways than PyAV's own errors
        raise VideoError(f"{path.name}: a frame cannot be read: {type(error).__name__}") from error


def seek(container: Any, index: int) -> Image:
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
    from PIL import Image as images_of

    height = max(1, round(image.height * width / image.width))
    return image.resize((width, height), images_of.Resampling.LANCZOS)


def jpeg(row: list[Image]) -> bytes:
    """The images side by side."""
    from PIL import Image as images_of

    sheet = images_of.new("RGB", (sum(image.width for image in row), max(image.height for image in row)))
    left = 0
    for image in row:
        sheet.paste(image, (left, 0))
        left += image.width
    data = io.BytesIO()
    sheet.save(data, format="JPEG", quality=QUALITY)
    return data.getvalue()
