"""Loads weights from files into networks: cleans keys, loads strictly, computes hashes.

The weights of the file and of the network must match exactly; otherwise an error lists both sides. Networks are loaded
from safetensors only, which cannot contain code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.platform.checkpoints.keys import Shape, check_fit, clean_key, shapes_of
from longtake.platform.checkpoints.lora import check_pairs, lora_pairs, merged
from longtake.platform.digest import file_sha256
from longtake.platform.errors import WeightsError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def load_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, by clean key."""
    with opened(path) as file:
        return {clean_key(key): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  the file is no dict


def load_strict(network: nn.Module, weights: dict[str, Tensor], origin: Path) -> None:
    """Copy `weights` into `network`, in the network's dtype. Raises WeightsError if names or shapes differ."""
    check_fit(shapes_of(weights), shapes_of(network.state_dict()), str(origin))
    for key, value in weights.items():
        check_finite(value, key, origin)
    network.load_state_dict(weights)


def load_into(
    network: nn.Module,
    path: Path,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    lora: Path | None = None,
    alpha_over_r: float = 1.0,
) -> None:
    """Load a safetensors file into `network`, which may be on the meta device, one tensor at a time.

    With `dtype` None, each weight keeps its dtype. A LoRA is merged in float32 before the cast. Never holds a second
    copy of the file. Raises WeightsError if names or shapes differ, or for numbers that are not finite.
    """
    check_header(path, network)
    if lora is not None:
        check_lora_header(lora, network)
    loaded: dict[str, Tensor] = {}
    lora_file: Any = opened(lora) if lora else nullcontext()
    with opened(path) as base, lora_file as update:
        pairs = lora_pairs(update.keys(), str(lora)) if lora else {}
        for key in base.keys():  # noqa: SIM118  the file is not a dict
            name, value = clean_key(key), base.get_tensor(key).to(device)
            if name in pairs:
                a, b = (update.get_tensor(side).to(device) for side in (pairs[name].a, pairs[name].b))
                value = merged(value, a, b, alpha_over_r)
            check_finite(value, name, lora if name in pairs and lora else path)
            loaded[name] = value.to(dtype) if dtype else value
    network.load_state_dict(loaded, assign=True)


def check_header(path: Path, network: nn.Module, renames: Callable[[str], str] = clean_key) -> None:
    """Raises WeightsError unless the names and shapes in a safetensors header are the network's; reads no numbers."""
    check_fit(header_shapes(path, renames), shapes_of(network.state_dict()), str(path))


def check_lora_header(path: Path, network: nn.Module) -> None:
    """Raises WeightsError unless a LoRA file contains only pairs, each of which fits a weight of the network."""
    shapes = header_shapes(path, str)
    check_pairs(lora_pairs(shapes, str(path)), shapes, shapes_of(network.state_dict()), str(path))


def header_shapes(path: Path, renames: Callable[[str], str]) -> dict[str, Shape]:
    """Name -> shape of every tensor in the header of a safetensors file."""
    with opened(path) as file:
        keys = file.keys()
        shapes = {renames(key): tuple(file.get_slice(key).get_shape()) for key in keys}
    if len(shapes) < len(keys):
        raise WeightsError(f"{path}: two weights have the same clean name; use another file")
    return shapes


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A memory-mapped safetensors file. Raises WeightsError if it is missing, truncated or of another format."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({error}); fetch or convert it again") from error


def check_finite(value: Tensor, key: str, origin: Path) -> None:
    if not value.isfinite().all():
        raise WeightsError(f"{origin}: {key} holds numbers that are not finite; fetch the file again")


def sha256(path: Path) -> str:
    """Hash of a weights file. Raises WeightsError if it cannot be read."""
    try:
        return file_sha256(path)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}; the backbone cannot run without it") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file beside weights. Raises WeightsError."""
    try:
        data = json.loads(path.read_bytes())
        if not isinstance(data, dict):
            raise ValueError("it holds no object")
        return data
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read as json ({error})") from error
