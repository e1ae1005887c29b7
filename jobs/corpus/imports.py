"""Imports published latents: a folder of latent_*.pt files with one tensor [T, C, H, W] each, as of LongLive-RAG.

Owns the format of such a folder and the identity of its takes: the name of a file and the sha256 of its bytes.
Files are memory-mapped, so checking shapes reads no latents; only tensors are unpickled (`checkpoints/pickles.py`).
"""

from __future__ import annotations

import math
import os
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
    """Returns one take per file, sorted by name, and the shape of a frame. Raises ConfigError (file, rule)."""
    if not os.path.isdir(folder):
        raise ConfigError(f"latents: {folder} is not a folder; give the folder with the files {PATTERN}")
    paths = sorted(folder.glob(PATTERN))
    if not paths:
        raise ConfigError(f"latents: {folder} contains no {PATTERN}; give the folder with those files")
    takes, latent = list[Take](), None
    for path in paths:
        shape = tuple(read(path).shape)
        latent = latent or shape[1:]
        if shape[1:] != latent:
            raise ConfigError(
                f"{path}: has frames {list(shape[1:])}, but {paths[0].name} has {list(latent)}; "
                "a corpus has one shape, so import them separately"
            )
        takes.append(take_of(path, backbone, shape[0]))
    assert latent is not None
    return takes, (latent[0], latent[1], latent[2])


def take_of(path: Path, backbone: str, frames: int) -> Take:
    seconds, method = math.ceil(frames / LATENT_FPS), MethodSpec(IMPORTED, IMPORTED)
    return Take(backbone, method, seconds, frames, path.name, 0, fingerprint=(("file", file_sha256(path)),))


def read(path: Path) -> Tensor:
    """Returns the file's latents [T, C, H, W], memory-mapped. Raises ConfigError for any other content."""
    import torch

    from longtake.platform.checkpoints.pickles import load_pickle

    try:
        latents = load_pickle(path)
    except WeightsError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(latents, torch.Tensor):
        raise ConfigError(f"{path}: contains {type(latents).__name__}; it must contain one tensor [T, C, H, W]")
    if latents.ndim != 4 or not latents.is_floating_point() or not latents.numel():
        raise ConfigError(f"{path}: contains {list(latents.shape)} {latents.dtype}; must be floats [T, C, H, W]")
    return latents
