"""Files that are no good videos, each bad in a way of its own; made when a test runs.

`unreadable` have no score at all; of `poor` ones something cannot be scored.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from longtake.evaluators.views import Frames

FPS = 16
SIZE = 48, 32


def picture(index: int, width: int = SIZE[0], height: int = SIZE[1]) -> Frames:
    """[height, width, 3]: blocks that pan one pixel a frame."""
    coarse = np.random.default_rng(5).integers(0, 256, (height // 4 + 1, (width + 60) // 4 + 1, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((4, 4, 1), dtype=np.uint8))[:height, index % 60 : index % 60 + width]


def video(
    path: Path,
    frames: int = 48,
    codec: str = "libx264",
    fps: Fraction | int = FPS,
    size: tuple[int, int] = SIZE,
    pixels: str = "yuv420p",
    times: Callable[[int], int] = lambda index: index,
    **options: str,
) -> bytes:
    """A video, written and read back as bytes; `times`: the place of each frame on the grid of the rate."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture(index, *size)), format="rgb24")
            frame.pts, frame.time_base = times(index), 1 / Fraction(fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def audio(path: Path, codec: str) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def black(path: Path, width: int, height: int, fps: int = FPS) -> bytes:
    """One frame of Motion JPEG."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        frame = av.VideoFrame(width, height, "yuvj420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def two_sizes(path: Path) -> bytes:
    """Motion JPEG whose frames grow in the middle of the stream."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuvj420p"
        for index in range(48):
            shape = (SIZE[0], SIZE[1]) if index < 24 else (SIZE[0] * 2, SIZE[1] * 2)
            packet = av.Packet(cv2.imencode(".jpg", picture(index, *shape))[1].tobytes())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, index, index, Fraction(1, FPS)
            container.mux(packet)
    return path.read_bytes()


def field(data: bytes, box: bytes, offset: int, value: bytes) -> bytes:
    """The bytes with `value` at `offset` behind the first occurrence of a box's name."""
    at = data.index(box) + 4 + offset
    return data[:at] + value + data[at + len(value) :]


def without(data: bytes, box: bytes) -> bytes:
    start = data.index(box) - 4
    return data[:start] + data[start + struct.unpack(">I", data[start : start + 4])[0] :]


def unreadable(scratch: Path) -> dict[str, bytes]:
    """Name -> bytes; `scratch`: a new folder for what is made on the way."""
    scratch.mkdir()
    good = video(scratch / "good.mp4", movflags="+faststart")
    mkv, avi = video(scratch / "good.mkv"), video(scratch / "good.avi", codec="mpeg4")
    pieces = video(scratch / "pieces.mp4", movflags="frag_keyframe+empty_moov")
    noise = np.random.default_rng(3).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    mdat = good.index(b"mdat") + 4
    return {
        "empty.mp4": b"",
        "text.mp4": b"this is no video\n" * 40,
        "page.mp4": b"<html><body>404 Not Found</body></html>",
        "playlist.mp4": b"#EXTM3U\n#EXTINF:2,\nhttp://example.com/a.ts\n",
        "noise.mp4": noise,
        "noise.mkv": noise,
        "picture.mp4": cv2.imencode(".png", picture(0))[1].tobytes(),
        "signature.mp4": good[:32],
        "cut-in-header.mp4": good[: good.index(b"stsz")],
        "cut-in-data.mp4": good[: mdat + (len(good) - mdat) // 2],
        "cut-at-end.mp4": good[:-200],
        "no-header.mp4": without(good, b"moov"),
        "no-data.mp4": good[: mdat - 8],
        "zeros-for-data.mp4": good[:mdat] + bytes(len(good) - mdat),
        "noise-for-data.mp4": good[:mdat] + (noise * 9)[: len(good) - mdat],
        "hole-in-data.mp4": good[: mdat + 900] + bytes(64) + good[mdat + 964 :],
        "no-parameters.mp4": field(good, b"avcC", 0, bytes(30)),
        "unknown-codec.mp4": good.replace(b"avc1", b"xxxx"),
        "encrypted.mp4": good.replace(b"avc1", b"encv"),
        "more-frames.mp4": field(good, b"stts", 8, struct.pack(">I", 480)),
        "far-offsets.mp4": field(good, b"stco", 8, struct.pack(">I", 1 << 31)),
        "no-time.mp4": field(good, b"mdhd", 12, bytes(4)),
        "no-frame.mp4": pieces[: pieces.index(b"moof") - 4],
        "cut-pieces.mp4": pieces[: pieces.rindex(b"mdat") + 40],
        "cut.mkv": mkv[:60],
        "zeros.mkv": mkv[: len(mkv) // 2] + bytes(600) + mkv[len(mkv) // 2 + 600 :],
        "cut.avi": avi[:300],
        "noise.avi": avi[:6000] + noise[:2000] + avi[8000:],
        "animation.mp4": b"GIF89a" + noise,
        "tilted.mp4": field(good, b"tkhd", 40, struct.pack(">9i", *[46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30])),
        "sound.mp4": audio(scratch / "sound.mp4", "aac"),
        "sound.mkv": audio(scratch / "sound.mkv", "pcm_s16le"),
        "wave.mp4": audio(scratch / "sound.wav", "pcm_s16le"),
        "rate-changes.mp4": video(scratch / "a.mp4", times=lambda index: index * index),
        "gap.mp4": video(scratch / "b.mp4", times=lambda index: index + 8 * (index >= 24)),
        "two-sizes.avi": two_sizes(scratch / "c.avi"),
        "huge.mov": black(scratch / "d.mov", 16384, 8704),
        "too-wide.mov": black(scratch / "e.mov", 4098, 64),
        "1000-fps.mp4": video(scratch / "f.mp4", fps=1000),
        "half-a-frame-a-second.mp4": video(scratch / "g.mp4", 4, fps=Fraction(1, 2)),
        "clip-of-gigabytes.mov": black(scratch / "h.mov", 2048, 1024, 240),
    }


def poor(scratch: Path) -> dict[str, bytes]:
    scratch.mkdir()
    return {
        "one-frame.mp4": video(scratch / "a.mp4", 1),
        "odd-sizes.mkv": video(scratch / "b.mkv", 40, "ffv1", size=(47, 33), pixels="bgr0"),
    }
