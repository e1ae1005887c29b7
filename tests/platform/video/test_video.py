"""Videos: streaming both ways, equal bytes, and a reason for every file that is no video."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from longtake.platform.digest import file_sha256
from longtake.platform.errors import StorageError, VideoError
from longtake.platform.video import damage
from longtake.platform.video.reading import probe, read_frames
from longtake.platform.video.writing import VideoWriter


def moving_square(num_frames: int, side: int = 32) -> np.ndarray:
    """[n, side, side, 3]: a bright square that moves one pixel a frame, so that every frame differs."""
    frames = np.full((num_frames, side, side, 3), 40, dtype=np.uint8)
    for index in range(num_frames):
        left = index % (side - 8)
        frames[index, 8:16, left : left + 8] = (200, 120, 60)
    return frames


def write(path: Path, frames: np.ndarray, batch: int = 7) -> Path:
    with VideoWriter(path, fps=16, width=frames.shape[2], height=frames.shape[1]) as writer:
        for start in range(0, len(frames), batch):
            writer.write(frames[start : start + batch])
    return path


def test_frames_come_back_in_order_and_close(tmp_path: Path) -> None:
    frames = moving_square(50)
    path = write(tmp_path / "a.mp4", frames)
    batches = list(read_frames(path, batch=16))
    assert [len(batch) for batch in batches] == [16, 16, 16, 2]
    read = np.concatenate(batches)
    assert read.dtype == np.uint8
    # crf 18 and 4:2:0 blur colour edges, but a frame is nearer to itself than to its neighbour, 1 px off.
    own = np.abs(read.astype(int) - frames).mean(axis=(1, 2, 3))
    neighbour = np.abs(read[:-1].astype(int) - frames[1:]).mean(axis=(1, 2, 3))
    assert own.max() < 4
    assert (own[:-1] < neighbour).all()


def test_header_facts_and_checksum(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", fps=16, width=32, height=16) as writer:
        writer.write(np.zeros((33, 16, 32, 3), np.uint8))
    info, header = writer.info, probe(tmp_path / "a.mp4")
    assert info is not None
    assert (header.num_frames, header.fps, header.width, header.height) == (33, 16.0, 32, 16)
    assert (info.num_frames, info.bytes, info.sha256) == (33, header.bytes, file_sha256(tmp_path / "a.mp4"))


def test_same_frames_give_the_same_bytes_however_they_are_batched(tmp_path: Path) -> None:
    frames = moving_square(40)
    first, second = write(tmp_path / "a.mp4", frames, 40), write(tmp_path / "b.mp4", frames, 3)
    assert file_sha256(first) == file_sha256(second)


def test_many_encodes_of_the_same_frames_are_one_file(tmp_path: Path) -> None:
    """x264's AVX-512 code fails this on 3 of 100 files, more often with other memory in use."""
    frames = moving_square(40)
    made = {file_sha256(write(tmp_path / f"{number}.mp4", frames, 1 + number % 40)) for number in range(200)}
    assert len(made) == 1


def test_faststart_and_a_key_frame_each_second(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", moving_square(48))
    data = path.read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")
    with av.open(str(path)) as container:
        keys = [round(p.pts * p.time_base * 16) for p in container.demux(video=0) if p.is_keyframe and p.size]
    # The encoder may add key frames at cuts (the square jumps back at frame 24), never fewer than one a second.
    assert keys[0] == 0
    assert max(np.diff([*keys, 48])) <= 16


def test_an_exception_while_writing_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "a.mp4", width=32, height=32) as writer:
        writer.write(moving_square(3))
        raise RuntimeError("the sampler failed")
    assert os.listdir(tmp_path) == []


def test_no_frame_and_wrong_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no frame was written"), VideoWriter(tmp_path / "a.mp4", width=32, height=32):
        pass
    writer = VideoWriter(tmp_path / "b.mp4", width=32, height=32)
    with pytest.raises(VideoError, match=r"uint8 \[1, 32, 34, 3\]; expected uint8 \[n, 32, 32, 3\]"):
        writer.write(np.zeros((1, 32, 34, 3), np.uint8))
    writer.abort()
    with pytest.raises(VideoError, match="must be even"):
        VideoWriter(tmp_path / "c.mp4", width=33, height=32)
    assert os.listdir(tmp_path) == []


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/a\.mp4: the video cannot be written"):
        VideoWriter(tmp_path / "file" / "a.mp4", width=32, height=32)


def huge_header(source: Path, target: Path) -> Path:
    """The same video, its sizes in the track header, the sample entry and the H.264 parameters raised to 16384x8704."""
    data = bytearray(source.read_bytes())
    entry = data.find(b"avc1", data.find(b"stsd")) + 4
    data[entry + 24 : entry + 28] = (16384).to_bytes(2, "big") + (8704).to_bytes(2, "big")
    tkhd = data.find(b"tkhd") - 4
    end = tkhd + int.from_bytes(data[tkhd : tkhd + 4], "big")
    data[end - 8 : end] = (16384 << 16).to_bytes(4, "big") + (8704 << 16).to_bytes(4, "big")
    target.write_bytes(data)
    return target


def encode_huge(path: Path) -> Path:
    """A real video of 16384x8704: one black frame, a few kB."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=16)
        stream.width, stream.height, stream.pix_fmt = 4098, 64, "yuvj420p"
        frame = av.VideoFrame(4098, 64, "yuvj420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def variable_rate(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=16)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for index, picture in enumerate(moving_square(20)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index * index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def bad_videos(tmp_path: Path) -> dict[str, Path]:
    good = write(tmp_path / "good.mp4", moving_square(40))
    data = good.read_bytes()
    contents = {
        "is empty": b"",
        "cannot be read as a video": b"#EXTM3U\nhttp://example.com/a.ts\n",
        "moov": data[: len(data) // 4],
        "cut": data[:-200],
        "only the signature": data[:32],
    }
    files = {name: tmp_path / f"{index}.mp4" for index, name in enumerate(contents)}
    for name, path in files.items():
        path.write_bytes(contents[name])
    files["no such file"] = tmp_path / "none.mp4"
    files["unknown file extension"] = tmp_path / "a.txt"
    files["unknown file extension"].write_text("text")
    files["declares 4098x64 px"] = encode_huge(tmp_path / "wide.mov")
    files["constant frame rate"] = variable_rate(tmp_path / "vfr.mp4")
    return files


def test_every_bad_video_is_a_video_error_with_a_reason(bad_videos: dict[str, Path]) -> None:
    for name, path in bad_videos.items():
        with pytest.raises(VideoError) as caught:
            for _ in read_frames(path):
                pass
        assert str(caught.value).startswith(str(path)), name
        assert "\n" not in str(caught.value)
        if " " in name and name != "only the signature":
            assert name in str(caught.value)


def test_a_huge_header_is_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    good = write(tmp_path / "good.mp4", moving_square(20))
    path = huge_header(good, tmp_path / "huge.mp4")
    code = f"""
import resource
from longtake.platform.errors import VideoError
from longtake.platform.video.reading import read_frames
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    shapes = [batch.shape for batch in read_frames({str(path)!r})]
except VideoError as error:
    print("refused", error)
else:
    print("read", shapes)
print("MiB", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    # The parameters inside the stream say 32x32 and win over the box; either way nothing huge is allocated.
    assert int(out.rpartition("MiB ")[2]) < 64, out


def test_mutated_videos_never_end_the_reader(tmp_path: Path) -> None:
    data = write(tmp_path / "good.mp4", moving_square(20)).read_bytes()
    rng = np.random.default_rng(7)
    outcomes = {"read": 0, "refused": 0}
    for index in range(60):
        mutated = bytearray(data)
        for _ in range(int(rng.integers(1, 20))):
            mutated[int(rng.integers(0, len(mutated)))] = int(rng.integers(0, 256))
        path = tmp_path / f"{index}.mp4"
        path.write_bytes(bytes(mutated))
        try:
            for batch in read_frames(path):
                assert batch.shape[1:] == (32, 32, 3)
            outcomes["read"] += 1
        except VideoError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 0


def test_bytes_that_no_encoder_writes_are_damage(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    path = write(tmp_path / "a.mp4", noise)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    largest = max(packets[1:], key=lambda packet: packet.size)  # the first also holds what the encoder says of itself
    data, middle = path.read_bytes(), largest.pos + largest.size // 2
    path.write_bytes(data[:middle] + bytes(3) + data[middle + 3 :])
    with pytest.raises(VideoError, match=r"a\.mp4: packet \d+ is damaged; make the video again"):
        list(read_frames(path))


def test_a_checksum_inside_a_video_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=16)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "bgr0"
        for picture in moving_square(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    assert sum(len(batch) for batch in read_frames(path)) == 20
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    level = av.logging.get_level()
    with pytest.raises(VideoError, match=r"packet \d+ is damaged \(.*CRC mismatch"):
        list(read_frames(path))
    assert av.logging.get_level() == level


# avcC and hvcC: the two lowest bits of byte 4, or 21, are the size of a length less one
@pytest.mark.parametrize(
    ("codec", "extradata", "size"),
    [
        ("h264", bytes([1, 100, 0, 10, 0xFF, 0xE1, 0]), 4),
        ("h264", bytes([1, 100, 0, 10, 0xFD, 0xE1, 0]), 2),
        ("h264", b"\x00\x00\x00\x01\x67\x64\x00", 0),
        ("h264", b"", 0),
        ("hevc", bytes([1, *range(20), 0xFF, 0]), 4),
        ("hevc", b"\x00\x00\x00\x01" + bytes(20), 0),
        ("vp9", bytes([1, *range(22)]), 0),
    ],
)
def test_how_long_the_length_of_a_unit_is(codec: str, extradata: bytes, size: int) -> None:
    assert damage.length_bytes(codec, extradata) == size


@pytest.mark.parametrize(
    ("packet", "damaged"),
    [
        (b"\x00\x03\x65\x01\x02\x00\x02\x41\x09", False),  # two units, of 3 and of 2 bytes
        (b"\x00\x04\x65\x01\x02", True),  # says 4, has 3
        (b"\x00\x03\x65\x01\x02\x00", True),  # half a length is left over
        (b"\x00\x05\x65\x00\x00\x03\x01", False),  # an escaped 00 00 01
        (b"\x00\x05\x65\x00\x00\x03\x04", True),  # what needs no escape
        (b"\x00\x04\x65\x00\x00\x01", True),  # a start code inside a unit
        (b"\x00\x05\x65\x00\x00\x03", True),  # says 5, has 4
        (b"\x00\x04\x65\x00\x00\x03", False),  # an escape may end a unit
        (b"\x00\x05\x65\x80\x00\x00\x00", False),  # padding behind a unit
    ],
)
def test_units_fill_a_packet_and_hold_no_byte_that_must_be_escaped(packet: bytes, damaged: bool) -> None:
    assert damage.is_damaged(packet, 2) is damaged


def timed(path: Path, codec: str, times: list[int], **options: str) -> Path:
    """A video whose frame i is at times[i] sixteenths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=16, options=options)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for picture, time in zip(moving_square(len(times)), times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 16)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_video_may_start_late_and_an_avi_may_hold_frames_out_of_order(tmp_path: Path) -> None:
    late = timed(tmp_path / "late.mkv", "libx264", list(range(24, 64)))
    assert sum(len(batch) for batch in read_frames(late)) == 40
    reordered = timed(tmp_path / "reordered.avi", "libx264", list(range(40)), bf="3")
    frames = np.concatenate(list(read_frames(reordered)))
    expected = moving_square(40)
    near = [int(np.argmin(np.abs(frame.astype(int) - expected[:20]).mean(axis=(1, 2, 3)))) for frame in frames[:20]]
    assert near == list(range(20))  # shown in their order, though the packets are not in it
    gap = timed(tmp_path / "gap.mp4", "libx264", [*range(20), *range(21, 41)])
    with pytest.raises(VideoError, match=r"frame 20 is not .* a constant frame rate is needed"):
        list(read_frames(gap))


@pytest.mark.parametrize("ending", [".mkv", ".webm"])
def test_a_container_that_says_how_long_it_is_was_not_cut(tmp_path: Path, ending: str) -> None:
    whole = timed(tmp_path / f"whole{ending}", "libvpx-vp9" if ending == ".webm" else "libx264", list(range(64)))
    assert sum(len(batch) for batch in read_frames(whole)) == 64
    cut = tmp_path / f"cut{ending}"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    with pytest.raises(VideoError, match=r"of the declared 4\.0\d s; it is truncated"):
        list(read_frames(cut))
