"""Reads the tensors of an archive that torch.jit.save wrote, without compiling or running its code.

The archive is a zip: <name>/data.pkl is a pickle of the module's attributes, nested like its submodules, and
<name>/data/K contains storage K, uncompressed. The pickle may contain modules (`__torch__...`), which are read as plain
tables, tensors and lists. Anything else is refused.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longtake.platform.errors import WeightsError

TYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
MAX_PICKLE = 64 << 20


class Part:
    """A module of the archive: its attributes by name, modules among them."""

    def __init__(self, *_: object) -> None:
        self.attributes: dict[Any, Any] = {}

    def __setstate__(self, state: object) -> None:
        self.attributes = state if isinstance(state, dict) else {}


@dataclass(frozen=True)
class Stored:
    """A tensor as described in the pickle; its storage is not read yet."""

    dtype: torch.dtype
    key: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Reader(pickle.Unpickler):
    """Allows only the names that such a pickle needs, and maps each to a safe function."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): rebuild,
            ("torch._utils", "_rebuild_parameter"): lambda value, *_: value,
        }
        if (module, name) in allowed:
            return allowed[module, name]
        if module == "torch" and name in TYPES:
            return TYPES[name]
        if module == "torch.jit._pickle" and name in LISTS:
            return list
        if module.startswith("__torch__"):
            return Part
        raise pickle.UnpicklingError(f"asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> tuple[torch.dtype, str]:
        kind, dtype, key, _, _ = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError("contains something that is not a storage")
        return dtype, str(key)


def rebuild(storage: tuple[torch.dtype, str], offset: int, shape: Any, stride: Any, *_: object) -> Stored:
    return Stored(*storage, int(offset), tuple(map(int, shape)), tuple(map(int, stride)))


def tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors whose full name starts with `prefix`, by full name, in their own dtype.

    Raises WeightsError if the file is not such an archive, is damaged, or contains anything but tensors in modules.
    """
    with archive_errors(path), zipfile.ZipFile(path) as archive:
        entry = next((info for info in archive.infolist() if info.filename.endswith("/data.pkl")), None)
        if entry is None or entry.file_size > MAX_PICKLE:
            raise WeightsError(f"{path}: contains no data.pkl of torch.jit.save; fetch it again")
        with archive.open(entry) as file:
            top = Reader(file).load()
        folder = entry.filename.removesuffix("data.pkl")
        selected = {name: stored for name, stored in named_tensors(top, "") if name.startswith(prefix)}
        if not selected:
            raise WeightsError(f"{path}: contains no tensors {prefix}... of torch.jit.save; use another file")
        return {name: read(archive, f"{folder}data/{stored.key}", stored) for name, stored in selected.items()}


def named_tensors(value: Any, name: str) -> Iterator[tuple[str, Stored]]:
    if isinstance(value, Stored):
        yield name, value
    elif isinstance(value, Part):
        for key, attribute in value.attributes.items():
            yield from named_tensors(attribute, f"{name}.{key}" if name else str(key))


def read(archive: zipfile.ZipFile, entry: str, stored: Stored) -> Tensor:
    """Copy a tensor out of its storage. Raises UnpicklingError if the storage is too small for it."""
    info = archive.getinfo(entry)
    if info.compress_type != zipfile.ZIP_STORED:
        raise pickle.UnpicklingError(f"{entry} is compressed")
    if 0 in stored.shape:
        return torch.empty(stored.shape, dtype=stored.dtype)
    numbers = torch.frombuffer(bytearray(archive.read(info)), dtype=stored.dtype)
    last = stored.offset + sum((size - 1) * step for size, step in zip(stored.shape, stored.stride, strict=True))
    if min(stored.offset, *stored.shape, *stored.stride, 0) < 0 or last >= len(numbers):
        raise pickle.UnpicklingError(f"{entry} holds fewer numbers than its tensor needs")
    return numbers.as_strided(stored.shape, stored.stride, stored.offset).clone()


@contextmanager
def archive_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except WeightsError:
        raise
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path}: {error}; only tensors are read from an archive, use another file") from error
    except Exception as error:  # a damaged file can cause any error in a reader
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise WeightsError(f"{path}: is not a complete archive of torch.jit.save ({reason}); fetch it again") from error
