"""The camera of a take whose prompt changes: the scripts of its texts, one after another.

Without a cut the camera goes on from where it is. A cut leads to another street: the camera jumps to the far side of
the circle, where as little as possible was seen before, and stays on it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from longtake.platform.pocket.prompts import parse
from longtake.platform.pocket.world import COLUMNS
from longtake.platform.prompts import Switch
from longtake.platform.takes import Take

FAR = COLUMNS // 2


def camera_of(take: Take) -> np.ndarray:
    return camera(take.prompt, take.switches, take.latent_frames)


def camera(prompt: str, switches: Sequence[Switch], latent_frames: int) -> np.ndarray:
    """int64 [F]: the column of the view's left edge, not wrapped; begins at 0. Raises ConfigError for a text that is
    no pocket prompt."""
    ends = [*(one.frame for one in switches), latent_frames]
    parts, street = [parse(prompt).camera(ends[0])], 0
    for one, end in zip(switches, ends[1:], strict=True):
        walk = parse(one.text).camera(end - one.frame)
        street += FAR if one.cut else 0
        parts.append(walk + (street if one.cut else parts[-1][-1] + walk[1]))  # a video's first step is left out
    return np.concatenate(parts)
