"""Runs of neighbouring tokens that change most from frame to frame: the single tokens that Forcing-KV keeps.

Shapes: n frames that are compared with the next one, g heads, T tokens a frame, d head dim.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from longtake.platform.errors import ConfigError
from longtake.platform.methods.interface.plan import Tokens

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.platform.methods.interface.hooks import Seen
    from longtake.platform.models.spec import DiTSpec


def check_runs(runs: int, spec: DiTSpec) -> None:
    """Raise ConfigError if a frame has too few tokens for so many runs."""
    if runs > spec.frame_tokens:
        raise ConfigError(f"runs = {runs}: must be at most {spec.frame_tokens}, the tokens of a frame")


def changed_runs(seen: Seen, oldest: int, size: int, runs: int, keep: int) -> Tokens:
    """Of as many frames as are new, from `oldest` on, `keep` frames' worth of the runs that resemble the next frame
    least, at their own time indices, oldest first.

    `seen` attends these frames and the next one, each as a whole, of `size` tokens.
    """
    import torch

    frames, count = range(oldest, oldest + len(seen.new)), runs * keep
    starts = [seen.start(frame, size) for frame in (*frames, frames[-1] + 1)]
    keys = torch.stack([seen.rotated_keys[:, start : start + size] for start in starts])
    bounds = [at * size // runs for at in range(runs + 1)]
    least = similarity(keys, bounds).flatten().argsort(stable=True)[:count].tolist()
    spans = [(frames[at // runs], range(bounds[at % runs], bounds[at % runs + 1])) for at in sorted(least)]
    kept = np.array([frame for frame, tokens in spans for _ in tokens])
    return Tokens(kept, np.array([token for _, tokens in spans for token in tokens]), kept)


def similarity(keys: Tensor, bounds: list[int]) -> Tensor:
    """[n, runs]: the mean over a run's tokens of the cosine between a token's key and the next frame's in its place.

    `keys` [n + 1, g, T, d], rotated; a token's keys of all heads are one vector. `bounds`: where runs begin and end.
    """
    import torch
    from torch.nn.functional import cosine_similarity

    tokens = keys.float().transpose(1, 2).flatten(2)
    cosine = cosine_similarity(tokens[:-1], tokens[1:], dim=-1)
    return torch.stack([cosine[:, start:stop].mean(dim=1) for start, stop in pairwise(bounds)], dim=1)
