"""The prompts of a folder of videos: a JSON file {video: prompt}, or a CSV file with the columns video and prompt.

A video is named by its path inside the folder, by its file name, or by that without its ending, as long as one video
alone is meant. Prompts are data: they go into results and are never part of a file's name.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from longtake.platform.errors import ConfigError

MAX_BYTES = 64 << 20
FORM = 'write {"video": "prompt", ...} or a CSV file with the columns video and prompt'


def read_prompts(file: Path) -> list[tuple[str, str]]:
    """(name as the file has it, prompt), in its order. Raises ConfigError."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{file}: is larger than {MAX_BYTES >> 20} MiB; {FORM}")
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}; check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    return _from_csv(text, file) if file.suffix.lower() == ".csv" else _from_json(text, file)


def _from_json(text: str, file: Path) -> list[tuple[str, str]]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: is not JSON ({error}); {FORM}") from error
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        raise ConfigError(f"{file}: is not one object; {FORM}")
    for name, prompt in pairs:
        if not isinstance(prompt, str):
            raise ConfigError(f"{file}: {name[:60]!r}: its prompt is not a text; {FORM}")
    return pairs


def _from_csv(text: str, file: Path) -> list[tuple[str, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if not {"video", "prompt"} <= set(reader.fieldnames or ()):
            raise ConfigError(f"{file}: line 1 does not name the columns video and prompt; {FORM}")
        found = []
        for row in reader:
            if row["video"] is None or row["prompt"] is None or None in row:
                raise ConfigError(f"{file}: line {reader.line_num} has another number of columns than line 1; {FORM}")
            found.append((row["video"], row["prompt"]))
    except csv.Error as error:
        raise ConfigError(f"{file}: line {reader.line_num + 1} is not CSV ({error}); {FORM}") from error
    return found


def match(pairs: Iterable[tuple[str, str]], videos: Collection[str], file: Path) -> tuple[dict[str, str], list[str]]:
    """(video -> prompt, names that are no video's). Raises ConfigError for a name of several videos and for a video
    that has two prompts."""
    names: dict[str, list[str]] = {}
    for video in videos:
        path = PurePosixPath(video)
        for name in dict.fromkeys((video, path.name, path.stem)):
            names.setdefault(name, []).append(video)
    found: dict[str, str] = {}
    unknown = []
    for name, prompt in pairs:
        key = name.removeprefix("./")
        meant = [key] if key in names.get(key, ()) else names.get(key, [])
        if len(meant) > 1:
            raise ConfigError(f"{file}: {name!r} can be {meant[0]} or {meant[1]}; write the path inside the folder")
        if not meant:
            unknown.append(name)
        elif found.setdefault(meant[0], prompt) != prompt:
            raise ConfigError(f"{file}: {meant[0]} has two prompts; keep one")
    return found, unknown


def from_names(videos: Iterable[str]) -> dict[str, str]:
    """video -> prompt, of videos that are named by their prompts: a name without its ending and a closing `-N`."""
    return {video: re.sub(r"-\d+$", "", PurePosixPath(video).stem) for video in videos}
