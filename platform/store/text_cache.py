"""Text embeddings on disk, made once per (encoder, prompt) and read by every sampler.

Owns the files FOLDER/<encoder>/<prompt>.safetensors, named by hashes. A file is written to the side and linked, and
the first one stays: of two writers one whole file is left, and no sampler sees another embedding than the next. It has
the full hashes of what it was made from and of its own numbers, so that a flipped bit or a file of something else is
refused on reading, never used. To encode again is always safe, which is why `has` calls a damaged file missing and
`put` replaces it. Never encodes, knows no network.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.platform.errors import StorageError
from longtake.platform.store.durable import fsync_file, fsync_folder, link_new, make_folder, storage_errors, temp_path

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "1"
"""Of the files and of the preparation of prompts; files of another one are made again."""
NAME = "text"


@dataclass(frozen=True)
class TextSource:
    """An encoder: its folder, and the hash of all that is in it."""

    folder: Path
    sha256: str


class TextCache:
    """Safe for any number of processes."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, encoder_sha256: str, prompt: str) -> Path:
        return self.folder / encoder_sha256[:16] / f"{hash_of(prompt.encode())[:32]}.safetensors"

    def get(self, encoder_sha256: str, prompt: str) -> "Tensor":
        """The embedding [rows, width] on the CPU, as it was stored. StorageError if it is missing or damaged."""
        path = self.path(encoder_sha256, prompt)
        if not path.is_file():
            raise StorageError(f"{path}: no embedding of prompt {prompt[:60]!r}; longtake run makes it before sampling")
        text = read(path, metadata_of(encoder_sha256, prompt))
        if text is None:
            raise StorageError(f"{path}: not the embedding that was written; run again, which makes it anew")
        return text

    def has(self, encoder_sha256: str, prompt: str) -> bool:
        """Whether `get` would give it. Reads and checks the file."""
        path = self.path(encoder_sha256, prompt)
        return path.is_file() and read(path, metadata_of(encoder_sha256, prompt)) is not None

    def put(self, encoder_sha256: str, prompt: str, text_RD: "Tensor") -> Path:
        """Keep an embedding [rows, width], unless a sound one is there. Raises StorageError; leaves no half a file."""
        from safetensors.torch import save

        path, text_RD = self.path(encoder_sha256, prompt), text_RD.detach().cpu().contiguous()
        metadata = metadata_of(encoder_sha256, prompt) | {"numbers": hash_of_tensor(text_RD)}
        make_folder(path.parent)
        temp = temp_path(path.parent, path.name)
        with storage_errors(path, "write the file"):
            try:
                temp.write_bytes(save({NAME: text_RD}, metadata))
                fsync_file(temp)
                if not link_new(temp, path) and not self.has(encoder_sha256, prompt):
                    os.replace(temp, path)
                fsync_folder(path.parent)
            finally:
                temp.unlink(missing_ok=True)
        return path


def metadata_of(encoder_sha256: str, prompt: str) -> dict[str, str]:
    """What a file says of where it is from."""
    return {"format": FORMAT, "encoder": encoder_sha256, "prompt": hash_of(prompt.encode())}


def read(path: Path, metadata: dict[str, str]) -> "Tensor | None":
    """The file's embedding; None if the file is damaged or of something else. StorageError if it cannot be read."""
    from safetensors import SafetensorError, safe_open

    with storage_errors(path, "read the file"):
        try:
            with safe_open(path, framework="pt") as file:
                told: dict[str, Any] = file.metadata() or {}
                text_RD: Tensor = file.get_tensor(NAME).clone()
        except SafetensorError:
            return None
    sound = told == metadata | {"numbers": hash_of_tensor(text_RD)}
    return text_RD if sound else None


def hash_of_tensor(value: "Tensor") -> str:
    """Over type, shape and numbers."""
    import torch

    numbers = value.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return hash_of(f"{value.dtype} {list(value.shape)} ".encode() + numbers)


def hash_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
