"""The prompt language of the pocket world: '<sky>, <material>; pan right 6 s, left 6 s, repeat'.

With ', long' after the material the street has no end; without, it is a circle. '; houses 16 to 23 change at 12 s' at
the end gives these columns of a circle another look while they are out of view. Owns the grammar and the camera script.
Parsing is strict: a prompt outside the grammar is an error. Time is in latent frames (4 a second); a direction lasts
for whole blocks of 3 frames, so durations are multiples of 0.75 s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from longtake.platform.errors import ConfigError
from longtake.platform.pocket.world import COLUMNS, MATERIALS, SKIES, VIEW_COLUMNS, check_words

LATENT_FPS = 4
FRAMES_PER_BLOCK = 3
MAX_CHARS = 2000
MAX_SEGMENT_SECONDS = 3600
EXAMPLE = "'dusk, brick; pan right 6 s, left 6 s, repeat'"
DIRECTIONS = {"right": 1, "left": -1}

ENDLESS_COLUMNS = 1 << 24
"""The size of a street without end: no camera crosses it."""

_SHAPE = re.compile(r"([a-z]+), ([a-z]+)(, long)?; pan ([^;]+?)(?:; (houses .*))?")
_CHANGE = re.compile(r"houses ([0-9]{1,2}) to ([0-9]{1,2}) change at ([0-9]{1,6}(?:\.[0-9]{1,6})?) s")
_MOVE = re.compile(r"(right|left) ([0-9]{1,6}(?:\.[0-9]{1,6})?) s")


@dataclass(frozen=True)
class Change:
    """Houses, and what stands in gaps, that begin in columns `first` to `last` look different from latent frame `frame`
    on."""

    first: int
    last: int
    frame: int

    @property
    def reach(self) -> range:
        """The columns that may change: the last house has up to three."""
        return range(self.first, min(self.last + 2, COLUMNS - 1) + 1)


@dataclass(frozen=True)
class PocketPrompt:
    """`segments`: (direction, latent frames). The last one continues without end unless the script repeats."""

    sky: str
    material: str
    segments: tuple[tuple[int, int], ...]
    repeat: bool = False
    long: bool = False
    change: Change | None = None

    @property
    def world_columns(self) -> int:
        """The columns after which the street begins again."""
        return ENDLESS_COLUMNS if self.long else COLUMNS

    def camera(self, latent_frames: int) -> np.ndarray:
        """int64 [F]: the column of the view's left edge, not wrapped; starts at 0 and moves one column per frame."""
        blocks = -(-latent_frames // FRAMES_PER_BLOCK)
        moves = np.repeat(self._block_directions(blocks), FRAMES_PER_BLOCK)[:latent_frames]
        moves[:1] = 0
        return np.cumsum(moves, dtype=np.int64)

    def text_tokens(self) -> np.ndarray:
        """float32 [2, 8], one-hot: the sky word (0..3), then the material word (4..7)."""
        tokens = np.zeros((2, len(SKIES) + len(MATERIALS)), dtype=np.float32)
        tokens[0, SKIES.index(self.sky)] = 1
        tokens[1, len(SKIES) + MATERIALS.index(self.material)] = 1
        return tokens

    def _block_directions(self, blocks: int) -> np.ndarray:
        directions = np.concatenate([np.full(frames // FRAMES_PER_BLOCK, sign) for sign, frames in self.segments])
        if self.repeat:
            return np.resize(directions, blocks)
        return np.pad(directions, (0, max(0, blocks - len(directions))), mode="edge")[:blocks]


def parse(text: str) -> PocketPrompt:
    """Parse a prompt. Raises ConfigError with the value, the rule and an example."""
    shape = _SHAPE.fullmatch(text) if len(text) <= MAX_CHARS else None
    if shape is None:
        rule = "write '<sky>, <material>; pan <moves>' (or '<sky>, <material>, long; ...')"
        raise _refusal(text, f"{rule} in lower case with single spaces")
    sky, material, long, moves, change = shape.groups()
    check_words(sky, material)
    parts = moves.split(", ")
    repeat = len(parts) > 1 and parts[-1] == "repeat"
    segments = tuple(_segment(part, text) for part in (parts[:-1] if repeat else parts))
    prompt = PocketPrompt(sky, material, segments, repeat, long is not None)
    return prompt if change is None else replace(prompt, change=_change(change, prompt, text))


def _segment(part: str, text: str) -> tuple[int, int]:
    move = _MOVE.fullmatch(part)
    if move is None:
        raise _refusal(text, f"the move {part!r} must read 'right N s' or 'left N s' ('repeat' only at the end)")
    direction, seconds = move.groups()
    blocks = Fraction(seconds) * LATENT_FPS / FRAMES_PER_BLOCK
    if blocks.denominator != 1 or not 0 < Fraction(seconds) <= MAX_SEGMENT_SECONDS:
        step = f"a multiple of {FRAMES_PER_BLOCK / LATENT_FPS} s (one block)"
        raise _refusal(text, f"the duration {seconds} s must be {step}, above 0 and at most {MAX_SEGMENT_SECONDS} s")
    return DIRECTIONS[direction], int(blocks) * FRAMES_PER_BLOCK


def _change(part: str, prompt: PocketPrompt, text: str) -> Change:
    found = _CHANGE.fullmatch(part)
    if found is None:
        raise _refusal(text, "a change must read 'houses A to B change at N s', at the end")
    first, last = int(found[1]), int(found[2])
    blocks = Fraction(found[3]) * LATENT_FPS / FRAMES_PER_BLOCK
    if prompt.long or not first <= last < COLUMNS:
        raise _refusal(text, f"houses {first} to {last} must be columns of a circle, 0 to {COLUMNS - 1} in order")
    if blocks.denominator != 1 or not 0 < Fraction(found[3]) <= MAX_SEGMENT_SECONDS:
        raise _refusal(text, f"the change at {found[3]} s must be at a multiple of {FRAMES_PER_BLOCK / LATENT_FPS} s")
    change = Change(first, last, int(blocks) * FRAMES_PER_BLOCK)
    view = (prompt.camera(change.frame + 1)[-2:, None] + np.arange(VIEW_COLUMNS)) % COLUMNS
    if np.isin(view, change.reach).any():
        raise _refusal(text, f"houses {first} to {last} are in view at {found[3]} s; let them change out of view")
    return change


def _refusal(text: str, rule: str) -> ConfigError:
    shown = text if len(text) <= 120 else text[:117] + "..."
    return ConfigError(f"pocket prompt {shown!r}: {rule}; for example {EXAMPLE}")
