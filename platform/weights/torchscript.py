"""Tensors of an archive that torch.jit.save wrote, read as data: nothing of its code is compiled or run.

Such an archive is a zip: <name>/data.pkl is a pickle of the module's attributes, nested as its parts are, and the
numbers of storage K are <name>/data/K, uncompressed. The pickle may ask for modules (`__torch__...`), which become
plain tables here, for tensors and for lists; whatever else it asks for is refused.
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
    """A tensor as the pickle tells of it; its numbers are not read yet."""

    dtype: torch.dtype
    key: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Reader(pickle.Unpickler):
    """Knows the few names that such a pickle needs, each as a function of its own."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): rebuilt,
            ("torch._utils", "_rebuild_parameter"): lambda value, *_: value,
        }
        if (module, name) in known:
            return known[module, name]
        if module == "torch" and name in TYPES:
            return TYPES[name]
        if module == "torch.jit._pickle" and name in LISTS:
            return list
        if module.startswith("__torch__"):
            return Part
        raise pickle.UnpicklingError(f"asks for {module}.{name}")

    def persistent_load(self, told: Any) -> tuple[torch.dtype, str]:
        kind, dtype, key, _, _ = told
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError("holds something that is no storage")
        return dtype, str(key)


def rebuilt(storage: tuple[torch.dtype, str], offset: int, shape: Any, stride: Any, *_: object) -> Stored:
    return Stored(*storage, int(offset), tuple(map(int, shape)), tuple(map(int, stride)))


def tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """Every tensor among the attributes whose whole name begins with `prefix`, by that name, in the type that it has.

    Raises WeightsError for what is no such archive, is damaged, or asks for anything but tensors in modules.
    """
    with archive_errors(path), zipfile.ZipFile(path) as archive:
        entry = next((one for one in archive.infolist() if one.filename.endswith("/data.pkl")), None)
        if entry is None or entry.file_size > MAX_PICKLE:
            raise WeightsError(f"{path}: holds no data.pkl of torch.jit.save; fetch it again")
        with archive.open(entry) as file:
            top = Reader(file).load()
        folder = entry.filename.removesuffix("data.pkl")
        found = {name: value for name, value in named(top, "") if name.startswith(prefix)}
        if not found:
            raise WeightsError(f"{path}: holds no tensors {prefix}... of torch.jit.save; take another file")
        return {name: read(archive, f"{folder}data/{one.key}", one) for name, one in found.items()}


def named(value: Any, name: str) -> Iterator[tuple[str, Stored]]:
    if isinstance(value, Stored):
        yield name, value
    elif isinstance(value, Part):
        for key, one in value.attributes.items():
            yield from named(one, f"{name}.{key}" if name else str(key))


def read(archive: zipfile.ZipFile, entry: str, one: Stored) -> Tensor:
    """The numbers, copied out of their storage, which must hold all that the tensor claims."""
    info = archive.getinfo(entry)
    if info.compress_type != zipfile.ZIP_STORED:
        raise pickle.UnpicklingError(f"{entry} is compressed")
    if 0 in one.shape:
        return torch.empty(one.shape, dtype=one.dtype)
    numbers = torch.frombuffer(bytearray(archive.read(info)), dtype=one.dtype)
    last = one.offset + sum((size - 1) * step for size, step in zip(one.shape, one.stride, strict=True))
    if min(one.offset, *one.shape, *one.stride, 0) < 0 or last >= len(numbers):
        raise pickle.UnpicklingError(f"{entry} holds fewer numbers than are claimed")
    return numbers.as_strided(one.shape, one.stride, one.offset).clone()


@contextmanager
def archive_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except WeightsError:
        raise
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path}: {error}; only tensors are read from an archive, take another file") from error
    except Exception as error:  # whatever a reader trips over, it is the file's fault
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise WeightsError(f"{path}: is no whole archive of torch.jit.save ({reason}); fetch it again") from error
