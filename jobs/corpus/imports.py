"""Latents that others made: a folder of latent_*.pt, each one tensor [T, C, H, W], as LongLive-RAG publishes them.

Owns what such a folder is and the identity of what is in it: a take by the file's name and the sha256 of its bytes.
Files are read as numbers alone (`platform/checkpoints/pickles.py`) and mapped: a check of shapes reads no latents.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.platform.corpus.reader import IMPORTED
from longtake.platform.digest import file_sha256
from longtake.platform.errors import ConfigError, WeightsError
from longtake.platform.takes import MethodSpec, Take

if TYPE_CHECKING:
    from torch import Tensor

PATTERN = "latent_*.pt"
LATENT_FPS = 4
Latent = tuple[int, int, int]

__all__ = ["IMPORTED", "find", "read"]


def find(folder: Path, backbone: str) -> tuple[list[Take], Latent]:
    """A take for each file, by name, and the shape of a frame. Raises ConfigError that names the file and the rule."""
    if not folder.is_dir():
        raise ConfigError(f"latents: {folder} is no folder; give the one that holds {PATTERN}")
    paths = sorted(folder.glob(PATTERN))
    if not paths:
        raise ConfigError(f"latents: {folder} holds no {PATTERN}; give the folder that has them")
    takes, latent = list[Take](), None
    for path in paths:
        shape = tuple(read(path).shape)
        latent = latent or shape[1:]
        if shape[1:] != latent:
            raise ConfigError(
                f"{path}: holds frames {list(shape[1:])} where {paths[0].name} has {list(latent)}; "
                "a corpus has one shape, import them apart"
            )
        takes.append(take_of(path, backbone, shape[0]))
    assert latent is not None
    return takes, (latent[0], latent[1], latent[2])


def take_of(path: Path, backbone: str, frames: int) -> Take:
    seconds, method = math.ceil(frames / LATENT_FPS), MethodSpec(IMPORTED, IMPORTED)
    return Take(backbone, method, seconds, frames, path.name, 0, fingerprint=(("file", file_sha256(path)),))


def read(path: Path) -> Tensor:
    """The file's latents [T, C, H, W], mapped. Raises ConfigError for anything else."""
    import torch

    from longtake.platform.checkpoints.pickles import load_pickle

    try:
        found = load_pickle(path)
    except WeightsError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(found, torch.Tensor):
        raise ConfigError(f"{path}: holds no tensor but {type(found).__name__}; latents are one tensor [T, C, H, W]")
    if found.ndim != 4 or not found.is_floating_point() or not found.numel():
        raise ConfigError(f"{path}: holds {list(found.shape)} {found.dtype}; latents are numbers [T, C, H, W]")
    return found
