"""The videos of a folder: links are followed once, and everything that is left out is said."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from longtake.platform.errors import ConfigError
from longtake.platform.video import folders
from longtake.platform.video.folders import scan

MP4, WEBM = b"\0\0\0\x18ftypisom", b"\x1a\x45\xdf\xa3"


def touch(path: Path, data: bytes = MP4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(folder: Path) -> list[str]:
    return list(scan(folder).videos)


def test_linked_folders_and_files_are_scanned(tmp_path: Path) -> None:
    videos, far = tmp_path / "videos", tmp_path / "far"
    touch(videos / "a.mp4")
    touch(far / "b.mp4")
    touch(far / "deep" / "c.MKV")
    (videos / "model").symlink_to(far)
    (videos / "d.mov").symlink_to(far / "b.mp4")
    found = scan(videos)
    assert list(found.videos) == ["a.mp4", "d.mov", "model/b.mp4", "model/deep/c.MKV"]
    assert found.notes() == []


def test_links_in_a_circle_are_left_out_and_said(tmp_path: Path) -> None:
    videos, far = tmp_path / "videos", tmp_path / "far"
    touch(videos / "a.mp4")
    touch(videos / "real" / "b.mp4")
    touch(far / "c.mp4")
    for link, target in {
        videos / "self": videos,
        videos / "up": tmp_path,
        videos / "alias": videos / "real",  # the videos have a name already
        videos / "far": far,
        far / "back": videos,
        far / "round": far,
        videos / "loop": videos / "loop",
    }.items():
        link.symlink_to(target)
    found = scan(videos)
    assert list(found.videos) == ["a.mp4", "far/c.mp4", "real/b.mp4"]
    assert found.left_out == {
        folders.TWICE: ["alias", "far/back", "far/round", "self", "up"],
        folders.NO_TARGET: ["loop"],
    }


@contextmanager
def without_privilege() -> Iterator[None]:
    """Root may read everything: the effective user is 'nobody' meanwhile."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_what_may_not_be_read_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "videos" / "a.mp4")
    for closed, mode in {"closed": 0o000, "listed": 0o444}.items():
        touch(tmp_path / "far" / closed / "b.mp4")
        touch(tmp_path / "videos" / f"{closed}-here" / "c.mp4")
        (tmp_path / "videos" / f"{closed}-folder").symlink_to(f"../far/{closed}")
        (tmp_path / "videos" / f"{closed}.mp4").symlink_to(f"../far/{closed}/b.mp4")
        for folder in (tmp_path / "far" / closed, tmp_path / "videos" / f"{closed}-here"):
            folder.chmod(mode)
    (tmp_path / "videos" / "deep").symlink_to("../far/closed/deep")
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # 'nobody' may not pass the folders around it
    with without_privilege():
        found = scan(Path("videos"))
    assert list(found.videos) == ["a.mp4"]
    assert found.left_out == {
        folders.UNREADABLE: ["closed-folder", "closed-here", "listed-folder", "listed-here"],
        folders.FORBIDDEN: ["closed.mp4", "deep", "listed.mp4"],
    }
    reason = "no permission to read it or what it links to"
    assert f"left out 3 names ({reason}): closed.mp4, deep, listed.mp4" in found.notes()
    for folder in (*tmp_path.glob("far/*"), *tmp_path.glob("videos/*-here")):
        folder.chmod(0o755)


def test_what_is_left_out_does_not_depend_on_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mimetypes

    monkeypatch.setattr(mimetypes, "guess_type", lambda *_: (None, None))
    touch(tmp_path / "a.mp4")
    for name in ("b.gif", "c.wmv", "d.TS", "e.3gp", "f.mp4.part", "notes.txt", "a.json", "x.tmp"):
        touch(tmp_path / name, b"data")
    touch(tmp_path / "no-ending", WEBM)
    touch(tmp_path / "g.mpg")
    touch(tmp_path / ".hidden.mp4")
    touch(tmp_path / ".cache" / "h.mp4")
    (tmp_path / "gone.mp4").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.mp4")
    found = scan(tmp_path)
    assert list(found.videos) == ["a.mp4"]
    assert found.left_out == {
        folders.UNKNOWN_TYPE: [
            "b.gif",
            "c.wmv",
            "d.TS",
            "e.3gp",
            "f.mp4.part",
            "g.mpg (holds MP4 or MOV; rename it)",
            "no-ending (holds Matroska or WebM; rename it)",
        ],
        folders.HIDDEN: [".cache/h.mp4", ".hidden.mp4"],
        folders.NO_TARGET: ["gone.mp4"],
        folders.NO_FILE: ["pipe.mp4"],
    }
    assert "left out 2 videos (hidden): .cache/h.mp4, .hidden.mp4" in found.notes()


def test_leftovers_of_vbench_are_no_videos_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path / "a_b.mp4")
    left = [
        "background_consistency_cat_firstframes_videos/a_b.mp4",
        "deep/split_clip/a_b/a_b_000.mp4",
        "deep/split_scene/a_b/a_b-Scene-0.mp4",
        "split_clip/a_b/a_b_000.mp4",
        "split_clip/a_b/a_b_001.mp4",
        "subject_consistency_cat_firstframes_videos/a_b.mp4",
        "temporal_filtered_cilps/filtered_videos/a_b.mp4",
    ]
    for name in left:
        touch(tmp_path / name)
    touch(tmp_path / "split_clip.mp4")
    touch(tmp_path / "my_split_clip" / "c.mp4")
    found = scan(tmp_path)
    assert list(found.videos) == ["a_b.mp4", "my_split_clip/c.mp4", "split_clip.mp4"]
    assert found.left_out == {folders.LEFTOVERS: left}
    assert names(tmp_path / "split_clip") == ["a_b/a_b_000.mp4", "a_b/a_b_001.mp4"]  # asked for


def test_long_lists_are_counted(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    for index in range(folders.MAX_NAMES + 2):
        touch(tmp_path / f"{index:02d}.gif")
    (note,) = scan(tmp_path).notes()
    assert note.startswith("left out 22 files (of unknown type; videos end in ")
    assert note.endswith(" and 2 more")


def test_a_folder_without_videos_says_what_it_has(tmp_path: Path) -> None:
    touch(tmp_path / "a.gif", b"GIF89a")
    with pytest.raises(
        ConfigError, match=r"no video .*; left out 1 file \(of unknown type; .*\): a\.gif; give the folder"
    ):
        scan(tmp_path)
    with pytest.raises(ConfigError, match="not a folder"):
        scan(tmp_path / "a.gif")
