"""Text embeddings on disk, computed once per (encoder, prompt) and read by every sampler.

Owns the files FOLDER/<encoder>/<prompt>.safetensors, named by hashes. The first of two writers wins, so all samplers
use the same embedding. A file contains the full hashes of its encoder, prompt and numbers, so a damaged or wrong file
is rejected on reading. Encoding again is always safe: `has` treats a damaged file as missing, and `put` replaces
it. Never encodes and knows no network.
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
"""The version of the files and of prompt preparation; files of another version are made again."""
NAME = "text"


@dataclass(frozen=True)
class TextSource:
    """An encoder: its folder, and the hash of the content."""

    folder: Path
    sha256: str


class TextCache:
    """A cache that any number of processes may use."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, encoder_sha256: str, prompt: str) -> Path:
        return self.folder / encoder_sha256[:16] / f"{hash_of(prompt.encode())[:32]}.safetensors"

    def get(self, encoder_sha256: str, prompt: str) -> "Tensor":
        """The stored embedding [rows, width] on the CPU. Raises StorageError if it is missing or damaged."""
        path = self.path(encoder_sha256, prompt)
        if not path.is_file():
            raise StorageError(f"{path}: no embedding of prompt {prompt[:60]!r}; longtake run makes it before sampling")
        text = read(path, metadata_of(encoder_sha256, prompt))
        if text is None:
            raise StorageError(f"{path}: is damaged; run again to encode the prompt again")
        return text

    def has(self, encoder_sha256: str, prompt: str) -> bool:
        """Whether `get` would return the embedding. Reads and checks the file."""
        path = self.path(encoder_sha256, prompt)
        return path.is_file() and read(path, metadata_of(encoder_sha256, prompt)) is not None

    def put(self, encoder_sha256: str, prompt: str, text_RD: "Tensor") -> Path:
        """Writes an embedding [rows, width] atomically, unless a valid one exists. Raises StorageError."""
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
    """The metadata that identifies the source of a file."""
    return {"format": FORMAT, "encoder": encoder_sha256, "prompt": hash_of(prompt.encode())}


def read(path: Path, metadata: dict[str, str]) -> "Tensor | None":
    """The file's embedding; None if the file is damaged or has other metadata. Raises StorageError if reading fails."""
    from safetensors import SafetensorError, safe_open

    with storage_errors(path, "read the file"):
        try:
            with safe_open(path, framework="pt") as file:
                stored: dict[str, Any] = file.metadata() or {}
                text_RD: Tensor = file.get_tensor(NAME).clone()
        except SafetensorError:
            return None
    is_valid = stored == metadata | {"numbers": hash_of_tensor(text_RD)}
    return text_RD if is_valid else None


def hash_of_tensor(value: "Tensor") -> str:
    """The hash of dtype, shape and numbers."""
    import torch

    numbers = value.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return hash_of(f"{value.dtype} {list(value.shape)} ".encode() + numbers)


def hash_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
