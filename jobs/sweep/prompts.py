"""The key `prompts` of a sweep: plain and timed prompts, in the sweep file or in a prompt file.

Owns how a prompt is written and its rules. A timed prompt is a list of parts with their times; in a prompt file that
ends with `.jsonl`, a line is a prompt in JSON. Knows no backbone, except for its frame rate and its block.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from longtake.jobs.shipped import CORPORA, SWEEPS
from longtake.platform.errors import ConfigError, NotPulledError
from longtake.platform.prompts import Part, Prompt, Switch
from longtake.platform.registry import did_you_mean
from longtake.platform.settings import config
from longtake.platform.settings.paths import expanded
from longtake.platform.settings.text import read_lines
from longtake.platform.weights.artefacts import weights_root
from longtake.platform.weights.catalog import ARTEFACTS

MAX_CHARS = 10_000
ASSUMED = 128  # the prompts of the MovieGen bench
JSON_LINES = ".jsonl"
LIST_OR_FILE = "give a list of prompts, or {file: FILE, limit: N}"
TEXT_OR_PARTS = "write a text, or a list of {at_s: SECONDS, text: TEXT, cut: true or false}"


class Times(Protocol):
    """The part of a backbone's specification that decides when a switch takes effect."""

    @property
    def latent_fps(self) -> int: ...

    @property
    def frames_per_block(self) -> int: ...


def check_key(prompts: Any) -> None:
    """Raises ConfigError, which starts with the key, for a value that cannot be `prompts`."""
    if isinstance(prompts, list):
        if not prompts:
            raise ConfigError(f"prompts: is an empty list; {LIST_OR_FILE}")
        for number, entry in enumerate(prompts):
            read_prompt(f"prompts[{number}]", entry)
        return
    if not isinstance(prompts, dict):
        raise ConfigError(f"prompts: {prompts!r:.80} is not a list or a mapping; {LIST_OR_FILE}")
    for key in prompts:
        if key not in ("file", "limit"):
            raise ConfigError(f"prompts.{key}: unknown key {key!r}; {did_you_mean(str(key), ['file', 'limit'])}")
    if not isinstance(prompts.get("file"), str) or not prompts["file"]:
        raise ConfigError(f"prompts.file: {prompts.get('file')!r} is not the name of a file; {LIST_OR_FILE}")
    limit = prompts.get("limit")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise ConfigError(f"prompts.limit: {limit!r} is not a whole number from 1")


def read_prompts(prompts: Any, file: Path) -> list[Prompt]:
    """The prompts of the key in `file`, from the list or the file. Searches for a prompt file beside `file`, among the
    packaged files, and among pulled weights (ARTEFACT/FILE). Raises ConfigError, NotPulledError."""
    if isinstance(prompts, list):
        entries = [read_prompt(f"{file}: prompts[{number}]", entry) for number, entry in enumerate(prompts)]
        return check_distinct(entries, f"{file}: prompts")
    path = find_prompt_file(prompts["file"], file)
    try:
        lines = read_lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file}: prompts.file: {path} cannot be read: {error}; give a readable UTF-8 file"
        ) from error
    return check_distinct([*prompts_in(lines, path, prompts.get("limit"))], str(path))


def prompts_in(lines: list[str], path: Path, limit: int | None = None) -> Iterator[Prompt]:
    """The first prompts in the lines of a file, which are texts or JSON. Raises ConfigError with the line."""
    number = 0
    for at, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if number == limit:
            return
        number += 1
        where = f"{path}: line {at}"
        yield read_prompt(where, read_json(where, line) if path.suffix == JSON_LINES else line)


def read_json(where: str, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: is not JSON ({error}); {TEXT_OR_PARTS}") from error


def read_prompt(where: str, entry: Any) -> Prompt:
    """A prompt as written. Raises ConfigError that starts with `where`."""
    if isinstance(entry, str):
        return Prompt(read_text(where, entry))
    if not isinstance(entry, list) or not entry:
        raise ConfigError(f"{where}: {entry!r:.80} is not a prompt; {TEXT_OR_PARTS}")
    first, *later = parts = [read_part(f"{where}[{number}]", part) for number, part in enumerate(entry)]
    if first.at_s != 0:
        raise ConfigError(f"{where}[0].at_s: {first.at_s:g} is not 0; the first text begins with the video")
    if first.cut:
        raise ConfigError(f"{where}[0].cut: the video begins with the first text, so there is no cut; remove it")
    for number, (before, part) in enumerate(pairwise(parts), 1):
        if part.at_s <= before.at_s:
            raise ConfigError(f"{where}[{number}].at_s: {part.at_s:g} is not after {before.at_s:g}; order the times")
    return Prompt(first.text, tuple(later))


def read_part(where: str, entry: Any) -> Part:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: {entry!r:.80} is not a part of a prompt; {TEXT_OR_PARTS}")
    part = config.build(Part, entry, where)
    return Part(part.at_s, read_text(f"{where}.text", part.text), part.cut)


def read_text(where: str, text: str) -> str:
    text = text.strip()
    if not text or len(text) > MAX_CHARS:
        raise ConfigError(f"{where}: a prompt has {len(text)} characters; give 1 to {MAX_CHARS}")
    return text


def check_distinct(prompts: list[Prompt], where: str) -> list[Prompt]:
    """The prompts. Raises ConfigError if there are none, or if two of them read the same."""
    if not prompts:
        raise ConfigError(f"{where}: has no prompts; write one per line")
    seen: set[str] = set()
    for prompt in map(str, prompts):
        if prompt in seen:
            raise ConfigError(f"{where}: the prompt {prompt!r:.80} is listed twice; remove one")
        seen.add(prompt)
    return prompts


def written(prompt: Prompt) -> Any:
    """A prompt as `read_prompt` reads it."""
    if not prompt.later:
        return prompt.text
    parts = [Part(0.0, prompt.text), *prompt.later]
    return [{"at_s": one.at_s, "text": one.text, **({"cut": True} if one.cut else {})} for one in parts]


def switches_of(prompt: Prompt, times: Times, shortest: tuple[int, int], prefix_frames: int) -> tuple[Switch, ...]:
    """The switches of a prompt in takes of a backbone. `shortest`: the shortest length in seconds and latent frames.

    Raises ConfigError for a text that no block of such a take would be made with.
    """
    switches, last = prompt.switches(times.latent_fps, times.frames_per_block), 0
    block_seconds = times.frames_per_block / times.latent_fps
    for one in switches:
        if one.frame >= shortest[1]:
            raise ConfigError(f"no block begins at or after {one.at_s:g} s in a take of {shortest[0]} s; lower at_s")
        if one.frame < prefix_frames:
            raise ConfigError(f"at_s {one.at_s:g} lies in the prefix, which is given; raise at_s or lower prefix_s")
        if one.frame <= last:
            raise ConfigError(
                f"the text before {one.at_s:g} s has no block of its own; raise it (a block has {block_seconds:g} s)"
            )
        last = one.frame
    return switches


def stand_in_prompts(limit: int | None) -> list[Prompt]:
    """As many texts as the prompt file that was not pulled yet is assumed to have, for the cost of the sweep."""
    return [Prompt(f"prompt {number}") for number in range(1, min(limit or ASSUMED, ASSUMED) + 1)]


def find_prompt_file(name: str, sweep_file: Path) -> Path:
    try:
        name = expanded(name)
    except ConfigError as error:
        raise ConfigError(f"{sweep_file}: prompts.file: {error}") from error
    places = [folder / name for folder in (sweep_file.parent, SWEEPS, CORPORA, weights_root())]
    for place in places:
        if os.path.isfile(place):  # false also for a name that is too long
            return place
    artefact = name.partition("/")[0]
    if artefact in ARTEFACTS:
        raise NotPulledError(f"{sweep_file}: prompts.file: no {places[-1]}; run longtake weights pull {artefact}")
    raise ConfigError(
        f"{sweep_file}: prompts.file: no file {name!r} in {sweep_file.parent} or among the packaged sweeps or corpora; "
        "give a path relative to the sweep file"
    )
