"""`longtake clip`: panels in step around the returns to one place."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longtake.jobs.cli import execute
from longtake.platform.pocket.prompts import parse
from longtake.platform.pocket.world import crop, panorama
from longtake.platform.store.records import TakeResult
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import MethodSpec, Take
from longtake.platform.video.writing import VideoWriter

PROMPT = "dusk, brick; pan right 3 s, left 3 s, repeat"


def street(store: SweepStore, label: str) -> Take:
    """A video of the true street, 128 x 128 px."""
    take = Take("pocket", MethodSpec(label, label), 15, 60, PROMPT, 0)
    world, camera = panorama("dusk", "brick", 0), parse(PROMPT).camera(60)
    frames = [crop(world, 4 * int(camera[index // 4])) for index in range(take.num_frames)]
    with store.open_take(take) as writer:
        with VideoWriter(writer.video_path, width=128, height=128) as video:
            video.write(np.stack(frames).repeat(4, axis=1).repeat(4, axis=2))
        info = video.close()
        writer.commit(TakeResult(take.id, info.sha256, info.bytes, info.num_frames, info.fps, info.width, info.height))
    return take


def test_a_clip_loops_and_moves(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """1.5 s before and after a visit at 16 fps, every second frame: 24 frames."""
    store, out = SweepStore(tmp_path / "runs", "demo"), tmp_path / "new" / "clip.webp"
    store.write_plan("name: demo", [street(store, "rag"), street(store, "native")])
    assert execute(["clip", str(store.folder), "--only", "rag", "--out", str(out)]) == 0
    assert "24 frames" in capfd.readouterr().out
    clip = Image.open(out)
    assert (clip.n_frames, clip.info["loop"]) == (12, 0)  # WebP joins equal ones; the street moves every 4 video frames
    first = np.asarray(clip.convert("RGB"))
    clip.seek(6)
    assert (np.asarray(clip.convert("RGB")) != first).any()


def test_nothing_to_show_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = SweepStore(tmp_path / "runs", "demo")
    store.write_plan("name: demo", [Take("pocket", MethodSpec("rag", "rag"), 15, 60, PROMPT, 0)])
    assert execute(["clip", str(store.folder), "--out", str(tmp_path / "clip.webp")]) == 2
    assert "no finished takes of the pocket world" in capfd.readouterr().err
    assert not (tmp_path / "clip.webp").exists()


def test_a_video_of_another_size_with_a_prompt_of_the_pocket_world_is_not_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store, take = SweepStore(tmp_path / "runs", "demo"), Take("wan", MethodSpec("rag", "rag"), 15, 60, PROMPT, 0)
    store.write_plan("name: demo", [take])
    with store.open_take(take) as writer:
        with VideoWriter(writer.video_path, width=96, height=64) as video:
            video.write(np.zeros((take.num_frames, 64, 96, 3), np.uint8))
        info = video.close()
        writer.commit(TakeResult(take.id, info.sha256, info.bytes, info.num_frames, info.fps, info.width, info.height))
    assert execute(["clip", str(store.folder), "--out", str(tmp_path / "clip.webp")]) == 2
    assert "no finished takes of the pocket world" in capfd.readouterr().err
