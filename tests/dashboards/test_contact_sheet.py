"""The contact sheet: the right frames, in rows that can be compared, whatever a video is like."""

import json
import os
from pathlib import Path

import numpy as np
from PIL import Image

from longtake.dashboards import contact_sheet
from longtake.platform.pocket.prompts import parse
from longtake.platform.pocket.world import crop, panorama
from longtake.platform.store import durable
from longtake.platform.store.records import TakeResult
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import MethodSpec, Take
from longtake.platform.video.writing import VideoWriter


def make(store: SweepStore, label: str, seconds: int, prompt: str = "dusk") -> Take:
    """A video whose brightness rises from 0 to 240 over its frames."""
    latent_frames = seconds * 4
    take = Take("pocket", MethodSpec(label, label), seconds, latent_frames, prompt, 0)
    shades = np.linspace(0, 240, take.num_frames).astype(np.uint8)
    with store.open_take(take) as writer:
        with VideoWriter(writer.video_path, width=64, height=64) as video:
            video.write(np.broadcast_to(shades[:, None, None, None], (len(shades), 64, 64, 3)))
        info = video.close()
        facts = (info.sha256, info.bytes, info.num_frames, info.fps, info.width, info.height)
        writer.commit(TakeResult(take.id, *facts))
    return take


def test_rows_show_frames_over_time(tmp_path: Path) -> None:
    store = SweepStore(tmp_path, "demo")
    takes = [make(store, "native", 3), make(store, "rag", 3), make(store, "native", 6)]
    path = contact_sheet.write(store, takes, columns=4)
    assert path == store.contact_sheet_file
    sheet = np.asarray(Image.open(path).convert("L"), dtype=float)
    # the first row begins below the title and one line of times; its frames have brightness 0, 80, 160, 240
    top = contact_sheet.TITLE_PX + contact_sheet.HEADER_PX + contact_sheet.FRAME_HEIGHT_PX // 2
    cell = contact_sheet.FRAME_HEIGHT_PX + contact_sheet.GAP_PX
    shades = [sheet[top, contact_sheet.LABEL_PX + column * cell + 40] for column in range(4)]
    np.testing.assert_allclose(shades, [0, 80, 160, 240], atol=6)


def test_an_unchanged_sheet_is_not_drawn_again(tmp_path: Path) -> None:
    store = SweepStore(tmp_path, "demo")
    takes = [make(store, "native", 3), make(store, "rag", 3)]

    def is_drawn(title: str | None = None) -> bool:
        os.utime(path, ns=(0, 0))
        assert contact_sheet.write(store, takes, 4, title) == path
        return path.stat().st_mtime_ns != 0

    path = contact_sheet.write(store, takes, 4)
    assert path is not None
    assert not is_drawn()
    assert is_drawn("another name")
    assert is_drawn()
    takes.append(make(store, "native", 6))
    assert is_drawn()
    assert not is_drawn()
    path.write_bytes(path.read_bytes()[:100])
    assert contact_sheet.write(store, takes, 4) == path
    path.write_bytes(b"not a picture")
    assert is_drawn()
    result = store.result(takes[0].id)
    assert result is not None
    durable.replace_file(store.result_file(takes[0].id), json.dumps(result.to_json() | {"video_sha256": "0"}).encode())
    assert is_drawn(), "another video of the same take"


def test_a_video_that_could_not_be_read_is_tried_again(tmp_path: Path) -> None:
    store = SweepStore(tmp_path, "demo")
    take = make(store, "native", 3)
    video = store.video(take.id)
    kept = video.read_bytes()
    video.write_bytes(bytes(len(kept)))
    path = contact_sheet.write(store, [take], 4)
    assert path is not None
    video.write_bytes(kept)
    before = path.read_bytes()
    assert contact_sheet.write(store, [take], 4) == path
    assert path.read_bytes() != before


RETURNING = "dusk, brick; pan right 3 s, left 3 s, repeat"


def make_street(store: SweepStore, label: str, forgets: bool) -> Take:
    """A pocket video of the true street; one that forgets shows another place from 3 s on, at 12 columns a turn."""
    take = Take("pocket", MethodSpec(label, label), 9, 36, RETURNING, 0)
    street, camera = panorama("dusk", "brick", 0), parse(RETURNING).camera(36)
    wrong = [40 if forgets and latent >= 16 else 0 for latent in range(36)]
    lefts = [int(camera[index // 4]) + wrong[index // 4] for index in range(take.num_frames)]
    frames = [crop(street, 4 * left).repeat(4, axis=0).repeat(4, axis=1) for left in lefts]
    with store.open_take(take) as writer:
        with VideoWriter(writer.video_path, width=128, height=128) as video:
            video.write(np.stack(frames))
        info = video.close()
        facts = (info.sha256, info.bytes, info.num_frames, info.fps, info.width, info.height)
        writer.commit(TakeResult(take.id, *facts))
    return take


def test_a_pocket_video_is_shown_when_a_place_comes_back(tmp_path: Path) -> None:
    """12 columns right and back, twice: the start of the street is back at latent frame 24 (with -1 for the first)."""
    store = SweepStore(tmp_path, "demo")
    good, bad = make_street(store, "remembers", False), make_street(store, "forgets", True)
    camera = parse(RETURNING).camera(36)
    for take, lost in ((good, False), (bad, True)):
        row = contact_sheet.read_row(take, store.video(take.id), 9)
        columns = {int(camera[round(seconds * 4)]) for seconds in row.times}
        assert len(columns) == 1
        assert len(row.times) > 1
        assert row.lost == [False, *[lost] * (len(row.times) - 1)]
        assert len(row.frames) == len(row.times)
    sheet = np.asarray(Image.open(contact_sheet.write(store, [good, bad])))
    reds = (sheet == contact_sheet.LOST).all(axis=2).sum(axis=1)
    first = contact_sheet.TITLE_PX + contact_sheet.HEADER_PX
    second = first + contact_sheet.FRAME_HEIGHT_PX + contact_sheet.GAP_PX
    assert not reds[first : first + contact_sheet.FRAME_HEIGHT_PX].any()
    assert reds[second] >= contact_sheet.FRAME_HEIGHT_PX  # the upper edge of an outline


def test_one_prompt_stands_for_all_cells(tmp_path: Path) -> None:
    store = SweepStore(tmp_path, "demo")
    lonely = make(store, "native", 3, "noon")
    both = [make(store, "rag", 3), make(store, "native", 3)]
    chosen = contact_sheet.choose([lonely, *both])
    assert [(take.prompt, take.method.label) for take in chosen] == [("dusk", "native"), ("dusk", "rag")]


def test_a_damaged_video_is_a_row_with_a_note(tmp_path: Path) -> None:
    store = SweepStore(tmp_path, "demo")
    takes = [make(store, "native", 3), make(store, "rag", 3)]
    path = store.video(takes[0].id)
    path.write_bytes(b"x" * path.stat().st_size)
    assert contact_sheet.write(store, takes) is not None
    assert contact_sheet.read_row(takes[0], path, 4).note


def test_rows_with_other_times_have_a_header_of_their_own() -> None:
    """Two videos of 9 s: one is shown at the returns of its camera, the other at even times; a third has no frames."""

    def row(label: str, times: list[float], lost: list[bool], seconds: int = 9) -> contact_sheet.Row:
        return contact_sheet.Row(label, "", seconds, [Image.new("RGB", (96, 96))] * len(times), times, lost)

    long = row("long", [0.0, 12.0], [], 12)
    unread, returns = row("unread", [], []), row("returns", [1.0, 5.0], [False, True])
    even, other = row("even", [0.0, 9.0], []), row("other", [1.0, 5.0], [False, False])
    rows = [long, unread, returns, even, other]
    assert contact_sheet.grouped(rows) == [[unread, returns, other], [even], [long]]
    assert contact_sheet.grouped([long, unread]) == [[unread], [long]]
    sheet, legend = contact_sheet.draw(rows, "t", 2), contact_sheet.HEADER_PX
    row_px, gap = contact_sheet.FRAME_HEIGHT_PX + contact_sheet.GAP_PX, contact_sheet.GAP_PX
    assert sheet.height == contact_sheet.TITLE_PX + 3 * contact_sheet.HEADER_PX + 5 * row_px + gap + legend


def test_nothing_to_show_is_no_sheet(tmp_path: Path) -> None:
    store = SweepStore(tmp_path, "demo")
    assert contact_sheet.write(store, []) is None
    assert not store.contact_sheet_file.exists()


def test_prompts_are_data(tmp_path: Path) -> None:
    assert contact_sheet.printable("a\nb\x1b[31m") == "a b [31m"
    assert contact_sheet.fitted("w" * 500, 100, 12).endswith("...")
