"""The camera of a take whose prompt changes: the scripts of its texts, one after another.

Without a cut the camera goes on from where it is. A cut leads to another street, at whose column 0 the script of the
new text begins. For the models the streets lie far apart on one line, so no frame of the one seems to show the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from longtake.platform.errors import ConfigError
from longtake.platform.pocket.prompts import parse
from longtake.platform.pocket.world import COLUMNS
from longtake.platform.prompts import Part, Switch
from longtake.platform.takes import Take

FAR = 700 * COLUMNS
"""The columns from the start of one street to that of the next: more than a camera crosses in two hours."""


def camera_of(take: Take) -> np.ndarray:
    return camera(take.prompt, take.switches, take.latent_frames)


def camera(prompt: str, switches: Sequence[Switch], latent_frames: int) -> np.ndarray:
    """int64 [F]: the column of the view's left edge, not wrapped; begins at 0. Raises ConfigError as `check` does."""
    check(prompt, switches)
    ends = [*(one.frame for one in switches), latent_frames]
    parts, street = [parse(prompt).camera(ends[0])], 0
    for one, end in zip(switches, ends[1:], strict=True):
        walk = parse(one.text).camera(end - one.frame)
        street += FAR if one.cut else 0
        parts.append(walk + (street if one.cut else parts[-1][-1] + walk[1]))  # a video's first step is left out
    return np.concatenate(parts)


def check(prompt: str, later: Sequence[Part]) -> None:
    """Raises ConfigError for a text that is no pocket prompt, for one that goes on along a circle as along a long
    street or the other way round, and for houses that change in a prompt of several texts."""
    shot = parse(prompt)
    for one in later:
        text = parse(one.text)
        if shot.change or text.change:
            raise ConfigError(f"pocket prompt {one.text[:120]!r}: {ONE_TEXT}")
        if one.cut:
            shot = text
        elif text.long != shot.long:
            raise ConfigError(f"pocket prompt {one.text[:120]!r}: without a cut the street goes on; {LONG_OR_NOT}")


ONE_TEXT = "houses change only in a prompt of one text; remove the change or the other texts"
LONG_OR_NOT = "write 'long' in both texts or in neither"
