"""The videos of a folder, and what is left out of them with the reason. Follows links to folders; opens no video.

Each folder is scanned once: under its own name if it has one in the tree, otherwise under the name of the first link to
it. A link that leads back to a folder around it is left out, so that there are no cycles.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from longtake.platform.errors import ConfigError
from longtake.platform.names import counted
from longtake.platform.printable import printable
from longtake.platform.video.containers import ENDINGS, OTHER_ENDINGS, UNFINISHED_ENDINGS, container_of, content_of

MAX_NAMES = 20


class Reason(NamedTuple):
    """Why something is left out, and what it is."""

    noun: str
    why: str


UNKNOWN_TYPE = Reason("file", f"of unknown type; videos end in {', '.join(ENDINGS)}")
HIDDEN = Reason("video", "hidden")
LEFTOVERS = Reason("video", "left behind by VBench's code")
NO_TARGET = Reason("link", "leads nowhere")
NO_FILE = Reason("name", "ends like a video but is not a file")
UNREADABLE = Reason("folder", "cannot be listed")
FORBIDDEN = Reason("name", "no permission to read it or what it links to")
TWICE = Reason("link", "leads back, or to a folder that is scanned under another name")
LEFTOVER_FOLDERS = (
    "split_clip",
    "split_scene",
    "*_cat_firstframes_videos",
    "temporal_filtered_cilps",
    "filter_results",
)
"""Folders that VBench and VBench-Long write beside the videos that they score; the misspelling is theirs."""


@dataclass
class FolderScan:
    """`videos`: path inside the folder -> file, sorted; `left_out`: reason -> paths inside the folder."""

    folder: Path
    videos: dict[str, Path] = field(default_factory=dict)
    left_out: dict[Reason, list[str]] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """A line per reason for leaving something out, with the number and the names."""
        return [
            f"left out {counted(len(names), reason.noun)} ({reason.why}): {shortened(names)}"
            for reason, names in self.left_out.items()
        ]

    def leave_out(self, path: Path, reason: Reason, note: str = "") -> None:
        self.left_out.setdefault(reason, []).append(self.name_of(path) + note)

    def name_of(self, path: Path) -> str:
        """Its path inside the folder; bytes that are not UTF-8 are written out."""
        return printable(path.relative_to(self.folder).as_posix())

    def take_in(self, path: Path) -> None:
        name = self.name_of(path)
        if name in self.videos:
            raise ConfigError(f"{path}: its name is not UTF-8 and is written like that of another video; rename it")
        self.videos[name] = path


def scan(folder: Path) -> FolderScan:
    """Raises ConfigError if the folder does not exist or has no video."""
    if not os.path.isdir(folder):
        raise ConfigError(f"{folder}: not a folder; give the folder that holds the videos")
    found = FolderScan(folder)
    for path in _files(found):
        _sort_in(found, path)
    found.videos = dict(sorted(found.videos.items()))
    found.left_out = {reason: sorted(names) for reason, names in found.left_out.items()}
    if not found.videos:
        notes = "".join(f"; {note}" for note in found.notes())
        known = ", ".join(ENDINGS)
        raise ConfigError(f"{folder}: no video ({known}) in it{notes}; give the folder that holds the videos")
    return found


def shortened(names: list[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _files(found: FolderScan) -> Iterator[Path]:
    """Everything that is no folder, in the tree and then behind its links."""
    scanned: set[tuple[int, int]] = set()
    waiting = [found.folder]
    while waiting:
        links: list[Path] = []
        for start in waiting:
            if start is not found.folder and _leads_back(start):
                found.leave_out(start, TWICE)
            else:
                yield from _walk(start, found, scanned, links)
        waiting = sorted(links)


def _walk(folder: Path, found: FolderScan, scanned: set[tuple[int, int]], links: list[Path]) -> Iterator[Path]:
    """The files of a folder and of the real folders in it; adds linked folders to `links`."""
    try:
        identity = _identity(folder)
        entries = sorted(folder.iterdir())
    except OSError:
        found.leave_out(folder, UNREADABLE)
        return
    if identity in scanned:
        if os.path.islink(folder):
            found.leave_out(folder, TWICE)
        return
    scanned.add(identity)
    for path in entries:
        if not os.path.isdir(path):  # the tests of pathlib raise PermissionError
            yield path
        elif os.path.islink(path):
            links.append(path)
        else:
            yield from _walk(path, found, scanned, links)


def _identity(folder: Path) -> tuple[int, int]:
    """Raises PermissionError also for a folder that can be listed but whose entries cannot be looked at."""
    status = os.stat(os.path.join(folder, os.curdir))
    return status.st_dev, status.st_ino


def _leads_back(link: Path) -> bool:
    return link.parent.resolve().is_relative_to(link.resolve())


def _sort_in(found: FolderScan, path: Path) -> None:
    """Adds a file to the videos or to what is left out. What looks like no video is neither."""
    ending = path.suffix.lower()
    unfinished = ending in UNFINISHED_ENDINGS and Path(path.stem).suffix.lower() in (*ENDINGS, *OTHER_ENDINGS)
    is_known, is_other = ending in ENDINGS, ending in OTHER_ENDINGS or unfinished
    if _is_forbidden(path):
        found.leave_out(path, FORBIDDEN)
    elif os.path.islink(path) and not os.path.exists(path):
        if is_known or is_other or not ending:
            found.leave_out(path, NO_TARGET)
    elif not os.path.isfile(path):
        if is_known:
            found.leave_out(path, NO_FILE)
    elif any(part.startswith(".") for part in path.relative_to(found.folder).parts):
        if is_known:
            found.leave_out(path, HIDDEN)
    elif is_known and _is_leftover(path.relative_to(found.folder)):
        found.leave_out(path, LEFTOVERS)
    elif is_known:
        found.take_in(path)
    elif is_other or (not ending and _holds_video(path)):
        found.leave_out(path, UNKNOWN_TYPE, _content_note(path))


def _is_forbidden(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return isinstance(error, PermissionError)
    return False


def _is_leftover(inside: Path) -> bool:
    return any(fnmatchcase(part, pattern) for part in inside.parts[:-1] for pattern in LEFTOVER_FOLDERS)


def _holds_video(path: Path) -> bool:
    with suppress(OSError):
        return container_of(path) is not None
    return False


def _content_note(path: Path) -> str:
    with suppress(OSError):
        return f" (holds {content_of(path)}; rename it)" if container_of(path) is not None else ""
    return ""
