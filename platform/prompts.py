"""A prompt whose text may change during the video: a timed prompt.

Owns what a timed prompt is, when a change takes effect, and how it is written on one line. A plain prompt has no
changes. Reads no file and encodes no text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Part:
    """A later part of a prompt, as asked for: `text` from second `at_s` on. `cut`: it begins with a cut."""

    at_s: float
    text: str
    cut: bool = False


@dataclass(frozen=True)
class Switch(Part):
    """A later part in a take. It takes effect at latent frame `frame`, the first of a block; `at_s` is for readers."""

    frame: int = field(kw_only=True)


@dataclass(frozen=True)
class Prompt:
    """The first text and the later parts, in the order of their times."""

    text: str
    later: tuple[Part, ...] = ()

    def __str__(self) -> str:
        return on_one_line(self.text, self.later)

    @property
    def texts(self) -> list[str]:
        """Its texts in order; a text may occur twice."""
        return [self.text, *(part.text for part in self.later)]

    def switches(self, latent_fps: int, block: int) -> tuple[Switch, ...]:
        """Each later part at the first block of `block` latent frames that begins at or after its time."""
        return tuple(
            Switch(part.at_s, part.text, part.cut, frame=first_frame(part.at_s, latent_fps, block))
            for part in self.later
        )


def first_frame(seconds: float, latent_fps: int, block: int) -> int:
    """The first latent frame of the first block that begins at or after a time."""
    return math.ceil(seconds * latent_fps / block - 1e-9) * block


def on_one_line(text: str, later: Iterable[Part]) -> str:
    """'a street | 20 s: the street at night | 40 s, cut: a beach'."""
    return " | ".join([text, *(f"{part.at_s:.10g} s{', cut' * part.cut}: {part.text}" for part in later)])
