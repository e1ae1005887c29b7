"""The prompts of a folder of videos: a JSON file {video: prompt}, or a CSV file with the columns video and prompt.

A video is named by its path in the folder, by its file name or by its stem; the name must match exactly one video. If
nothing matches exactly, a name in another Unicode form matches: macOS writes é as two characters, editors as one.
Prompts are data: they are part of results and never of file names.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from longtake.platform.errors import ConfigError

MAX_BYTES = 64 << 20
FORM = 'write {"video": "prompt", ...} or a CSV file with the columns video and prompt'


def read_prompts(file: Path) -> list[tuple[str, str]]:
    """Returns (name in the file, prompt) pairs in the order of the file. Raises ConfigError."""
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
        raise ConfigError(f"{file}: is not a JSON object; {FORM}")
    for name, prompt in pairs:
        if not isinstance(prompt, str):
            raise ConfigError(f"{file}: {name[:60]!r}: the prompt is not a string; {FORM}")
    return pairs


def _from_csv(text: str, file: Path) -> list[tuple[str, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if not {"video", "prompt"} <= set(reader.fieldnames or ()):
            raise ConfigError(f"{file}: line 1 does not have the columns video and prompt; {FORM}")
        pairs = []
        for row in reader:
            if row["video"] is None or row["prompt"] is None or None in row:
                raise ConfigError(f"{file}: line {reader.line_num} and line 1 differ in number of columns; {FORM}")
            pairs.append((row["video"], row["prompt"]))
    except csv.Error as error:
        raise ConfigError(f"{file}: line {reader.line_num + 1} is not CSV ({error}); {FORM}") from error
    return pairs


def match(pairs: Iterable[tuple[str, str]], videos: Collection[str], file: Path) -> tuple[dict[str, str], list[str]]:
    """Returns (video -> prompt, names that match no video). Raises ConfigError if a name matches several videos or if
    a video has two prompts."""
    exact, alike = index(videos, str), index(videos, composed)
    prompts: dict[str, str] = {}
    unknown = []
    for name, prompt in pairs:
        key = name.removeprefix("./")
        matches = exact.get(key) or alike.get(composed(key), [])
        if len(matches) > 1:
            raise ConfigError(f"{file}: {name!r} matches {matches[0]} and {matches[1]}; write the path in the folder")
        if not matches:
            unknown.append(name)
        elif prompts.setdefault(matches[0], prompt) != prompt:
            raise ConfigError(f"{file}: {matches[0]} has two prompts; keep one")
    return prompts, unknown


def index(videos: Collection[str], form: Callable[[str], str]) -> dict[str, list[str]]:
    """A path, file name or stem in the given form -> the videos of that path or, without one, of that name."""
    names: dict[str, list[str]] = {}
    for video in videos:
        path = PurePosixPath(video)
        for name in dict.fromkeys((path.name, path.stem)):
            names.setdefault(form(name), []).append(video)
    paths: dict[str, list[str]] = {}
    for video in videos:
        paths.setdefault(form(video), []).append(video)
    return names | paths


def composed(name: str) -> str:
    """The name in Unicode's normalization form C."""
    return normalize("NFC", name)


def from_names(videos: Iterable[str]) -> dict[str, str]:
    """video -> prompt of videos named by their prompts: the file name without its extension and a trailing `-N`, in
    Unicode's form C, in which prompts are written."""
    return {video: re.sub(r"-\d+$", "", composed(PurePosixPath(video).stem)) for video in videos}
