"""Frames as players show them: turned, cut by edit lists, beside longer sound, and under any name.

The boxes of MP4 are patched by hand; see ISO/IEC 14496-12, 8.3.2 (tkhd) and 8.6.6 (elst).
"""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from longtake.platform.errors import VideoError
from longtake.platform.video.header import MAX_FPS, MIN_FPS, check_fps
from longtake.platform.video.reading import probe, read_frames

FPS, ONE = 16, 1 << 16


def picture(index: int, height: int = 32, width: int = 48) -> np.ndarray:
    """[height, width, 3]: grey that grows to the right and down, with a bright block that moves; no symmetry."""
    frame = np.add.outer(np.arange(height), 2 * np.arange(width)).astype(np.uint8)
    frame[4:12, index % 32 : index % 32 + 8] = 220
    return np.repeat(frame[:, :, None], 3, axis=2)


def encode(
    path: Path, codec: str = "libx264", frames: int = 40, sound: str | None = None, seconds: int = 0, **options: str
) -> Path:
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height = 48, 32
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        track = container.add_stream(sound, rate=48000, layout="mono") if sound else None
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if track is not None:
            for start in range(0, seconds * 48000, 960):
                samples = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
                samples.sample_rate, samples.pts, samples.time_base = 48000, start, Fraction(1, 48000)
                container.mux(track.encode(samples))
            container.mux(track.encode(None))
    return path


def read(path: Path, threads: int = 1) -> np.ndarray:
    return np.concatenate(list(read_frames(path, threads=threads)))


def turned(path: Path, target: Path, a: int, b: int, c: int, d: int) -> Path:
    """The same video with another matrix in its track header, which has 40 bytes before it."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 4 + 40
    assert struct.unpack(">9i", data[at : at + 36]) == (ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    target.write_bytes(data)
    return target


# x' = a x + c y, y' = b x + d y: with a = 0, b = 1, c = -1, d = 0 the first row becomes the last column.
ORIENTATIONS = {
    "rotated 90 degrees clockwise": ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
    "rotated 180 degrees": ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
    "rotated 90 degrees counterclockwise": ((0, -1, 1, 0), lambda frame: np.rot90(frame)),
    "mirrored left to right": ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),
    "mirrored top to bottom": ((1, 0, 0, -1), lambda frame: frame[::-1]),
    "mirrored along the diagonal from the top left": ((0, 1, 1, 0), lambda frame: frame.swapaxes(0, 1)),
    "mirrored along the diagonal from the top right": ((0, -1, -1, 0), lambda frame: np.rot90(frame, 2).swapaxes(0, 1)),
    "": ((1, 0, 0, 1), lambda frame: frame),
}


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize(
    ("codec", "ending"), [("libx264", ".mp4"), ("mpeg4", ".mov"), ("libvpx-vp9", ".mp4"), ("mjpeg", ".mov")]
)
def test_frames_are_turned_as_players_turn_them(tmp_path: Path, codec: str, ending: str, name: str) -> None:
    plain = encode(tmp_path / f"plain{ending}", codec, 3)
    matrix, expected = ORIENTATIONS[name]
    path = turned(plain, tmp_path / f"turned{ending}", *(ONE * part for part in matrix))
    wanted = np.stack([expected(frame) for frame in read(plain)])
    assert np.array_equal(read(path), wanted)
    assert np.array_equal(read(path, threads=2), wanted)
    head = probe(path)
    assert (head.height, head.width, head.turned) == (*wanted.shape[1:3], name)


def test_a_scale_is_ignored_and_another_angle_is_refused(tmp_path: Path) -> None:
    plain = encode(tmp_path / "plain.mp4", frames=3)
    twice = turned(plain, tmp_path / "twice.mp4", 0, 2 * ONE, -2 * ONE, 0)
    assert probe(twice).turned == "rotated 90 degrees clockwise"
    tilted = turned(plain, tmp_path / "tilted.mp4", 46341, 46341, -46341, 46341)  # cos 45 degrees = 46341 / 65536
    for attempt in (probe, read):
        with pytest.raises(VideoError, match=r"tilted\.mp4: its display matrix turns it by 45 degrees; only multiples"):
            attempt(tilted)


def edited(path: Path, target: Path, entries: list[tuple[int, int]]) -> Path:
    """The same video with another edit list: (milliseconds, first frame) per entry; first frame -1 shows nothing."""
    data = bytearray(path.read_bytes())
    elst = data.find(b"elst")
    assert len(entries) == 1 or data.find(b"moov") > data.find(b"mdat")  # a longer list must not move the samples
    count, _, first_time = struct.unpack(">3i", data[elst + 8 : elst + 20])
    assert (count, data[elst + 4]) == (1, 0)
    ticks = struct.unpack(">i", data[data.find(b"mdhd") + 16 : data.find(b"mdhd") + 20])[0] // FPS
    parts = [(ms, first_time + ticks * first if first >= 0 else -1, 1, 0) for ms, first in entries]
    new = struct.pack(">i", len(parts)) + b"".join(struct.pack(">iihh", *part) for part in parts)
    data[elst + 8 : elst + 24] = new
    grown = len(new) - 16
    for box in (b"elst", b"edts", b"trak", b"moov"):
        at = data.find(box) - 4
        data[at : at + 4] = struct.pack(">i", struct.unpack(">i", data[at : at + 4])[0] + grown)
    target.write_bytes(data)
    return target


@pytest.mark.parametrize(("ending", "codec"), [(".mp4", "libx264"), (".mov", "libx264"), (".mov", "mjpeg")])
@pytest.mark.parametrize(
    ("entries", "shown"),
    [
        ([(5000, 0)], range(80)),
        ([(4938, 1)], range(1, 80)),
        ([(2500, 0)], range(40)),
        ([(2500, 20)], range(20, 60)),
        ([(1000, -1), (5000, 0)], range(80)),  # starts after 1 s
        ([(1000, 0), (1000, 40)], [*range(16), *range(40, 56)]),
        ([(1000, 40), (1000, 0), (500, 41)], [*range(40, 56), *range(16), *range(41, 49)]),
    ],
    ids=["whole", "without the first", "first half", "middle", "late", "two parts", "out of order"],
)
def test_only_the_frames_of_an_edit_list_are_shown(
    tmp_path: Path, ending: str, codec: str, entries: list[tuple[int, int]], shown: range | list[int]
) -> None:
    whole = encode(tmp_path / f"whole{ending}", codec, frames=80)
    path = edited(whole, tmp_path / f"cut{ending}", entries)
    assert probe(path).num_frames == len(shown)
    assert np.array_equal(read(path), read(whole)[list(shown)])


def test_a_truncated_video_with_an_edit_list_is_refused(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mp4", frames=80, movflags="+faststart")
    path = edited(whole, tmp_path / "edited.mp4", [(4938, 1)])
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(path.read_bytes()[:-500])
    assert probe(cut).num_frames == 79
    with pytest.raises(VideoError, match=r"cut\.mp4: "):
        read(cut)


@pytest.mark.parametrize(
    ("ending", "codec", "sound"),
    [(".mkv", "libx264", "aac"), (".webm", "libvpx-vp9", "libopus"), (".mkv", "mpeg4", "libopus")],
)
def test_sound_may_last_longer_than_the_frames_but_not_a_truncated_file(
    tmp_path: Path, ending: str, codec: str, sound: str
) -> None:
    path = encode(tmp_path / f"long{ending}", codec, 40, sound, seconds=8)  # 2.5 s of frames
    assert probe(path).num_frames == len(read(path)) == 40
    whole = encode(tmp_path / f"whole{ending}", codec, 96, sound, seconds=6)
    cut = tmp_path / f"cut{ending}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"of the declared 6\.\d\d s; it is truncated"):
        read(cut)


WRITTEN = {"mp4": ".mp4", "mov": ".mov", "matroska": ".mkv", "webm": ".webm", "avi": ".avi"}


@pytest.mark.parametrize("content", WRITTEN)
@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm", ".avi"])
def test_the_content_decides_and_not_the_ending(tmp_path: Path, content: str, ending: str) -> None:
    right = encode(tmp_path / f"right{WRITTEN[content]}", "libvpx-vp9" if content == "webm" else "mpeg4", 3)
    if content == "matroska":
        assert right.read_bytes()[:4] == b"\x1a\x45\xdf\xa3"
    wrong = right.rename(tmp_path / f"wrong{ending}")
    assert len(read(wrong)) == 3


@pytest.mark.parametrize(("data", "holds"), [(b"GIF89a" + bytes(40), "a GIF image"), (b"<html>", "text")])
def test_what_is_no_video_is_named(tmp_path: Path, data: bytes, holds: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    with pytest.raises(VideoError, match=rf"a\.mp4: cannot be read as a video: it holds {holds}"):
        probe(path)


def test_one_limit_of_frame_rates() -> None:
    assert (MIN_FPS, MAX_FPS) == (1, 240)
    for fps in (1, 23.976, 240):
        check_fps(fps, Path("a.mp4"))
    for fps in (0, 0.9, 240.1, 1000):
        with pytest.raises(VideoError, match=r"a\.mp4: has .* frames a second; 1 to 240 are read"):
            check_fps(fps, Path("a.mp4"))
