"""Reads pickled checkpoints as untrusted files: returns tensors or raises an error, and never runs code of the file.

The only caller of `torch.load`, always with `weights_only=True`, whose unpickler allows only tensors and plain
containers. Files are memory-mapped if their format allows it, so that 11 GB need not fit in memory.
"""

import pickle
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from longtake.platform.checkpoints.keys import clean_key, listing
from longtake.platform.errors import WeightsError, first_line


def load_pickle(path: Path) -> Any:
    """The content of a checkpoint: tensors in plain containers, on the CPU. Raises WeightsError for anything else."""
    if not path.is_file():
        raise WeightsError(f"{path}: file not found; fetch it with longtake weights pull")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip(path))
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: {refusal(error)}; only tensors are read from a pickle, use another file"
        ) from error
    except Exception as error:  # a damaged file can cause any error in a reader
        raise WeightsError(f"{path}: cannot be read as a checkpoint ({first_line(error)}); fetch it again") from error


def is_zip(path: Path) -> bool:
    """Whether a file is a zip and can be mapped. Files from before torch 1.6 are not, and are read as a whole."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def refusal(error: Exception) -> str:
    """The refused name, as 'asks for os.system', or the unpickler's reason."""
    name = re.search(r"GLOBAL (\S+)", str(error))
    reason = re.search(r"WeightsUnpickler error: *(.+)", str(error))
    return f"asks for {name[1]}" if name else f"is refused ({reason[1] if reason else first_line(error)})"


def check_tensors(state: Any, origin: str) -> None:
    """Raises WeightsError unless `state` maps names to dense tensors, each inside its storage."""
    if not isinstance(state, dict) or not state:
        raise WeightsError(f"{origin}: is not a state dict; use another file")
    for name, value in state.items():
        if not isinstance(name, str) or type(value) not in (Tensor, nn.Parameter):
            raise WeightsError(f"{origin}: {str(name)[:80]} is not a tensor; use another file")
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise WeightsError(f"{origin}: {name} is not a dense tensor; use another file")
        if value.numel() * value.itemsize > value.untyped_storage().nbytes():
            raise WeightsError(f"{origin}: {name} needs more numbers than the file contains; fetch it again")


def is_plain(state: Any, keys: tuple[str, ...]) -> bool:
    """Whether a pickle is a state dict itself, without a dictionary around it that has one of `keys`."""
    if not isinstance(state, dict) or not state or any(key in state for key in keys):
        return False
    return all(isinstance(value, Tensor) for value in state.values())


def published_state(path: Path, keys: tuple[str, ...]) -> dict[str, Tensor]:
    """The weights under the first of `keys` that a published pickle has, by clean key, mapped and not yet read.

    Without keys, or if the pickle holds tensors alone, it is the state dict itself. Runs no code of the file: anything
    but tensors in plain containers is refused. Raises WeightsError for that, if no key is present, or if two names are
    equal after cleaning.
    """
    state = load_pickle(path)
    if keys and not is_plain(state, keys):
        names = sorted(map(str, state)) if isinstance(state, dict) else []
        key = next((key for key in keys if key in names), None)
        if key is None:
            raise WeightsError(f"{path}: has no {' or '.join(keys)}, only {listing(names)}; use another file")
        state = state[key]
    check_tensors(state, str(path))
    cleaned = {clean_key(name): value.detach() for name, value in state.items()}
    if len(cleaned) < len(state):
        raise WeightsError(f"{path}: two weights have the same clean name; use another file")
    return cleaned
