"""Pickled checkpoints, opened once and never trusted: numbers come out or one refusal, and no code of the file runs.

Owns `torch.load` of the package: always `weights_only=True`, whose unpickler knows tensors and plain containers and
nothing else, and memory-mapped where the file allows it, so that 11 GB are read and not held.
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
    """What a checkpoint holds: tensors in plain containers, on the CPU. Raises WeightsError for anything else."""
    if not path.is_file():
        raise WeightsError(f"{path}: is not there; fetch it with longtake weights pull")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip(path))
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: {refusal(error)}; only tensors are read from a pickle, take another file"
        ) from error
    except Exception as error:  # whatever a reader trips over, it is the file's fault
        raise WeightsError(f"{path}: cannot be read as a checkpoint ({first_line(error)}); fetch it again") from error


def is_zip(path: Path) -> bool:
    """Whether a file can be mapped; those of before torch 1.6 are no zip and can only be read whole."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def refusal(error: Exception) -> str:
    """'asks for os.system', or what the unpickler found wrong."""
    asked = re.search(r"GLOBAL (\S+)", str(error))
    reason = re.search(r"WeightsUnpickler error: *(.+)", str(error))
    return f"asks for {asked[1]}" if asked else f"is refused ({reason[1] if reason else first_line(error)})"


def check_tensors(state: Any, origin: str) -> None:
    """WeightsError unless `state` is a table of names and dense tensors, each inside its own storage."""
    if not isinstance(state, dict) or not state:
        raise WeightsError(f"{origin}: holds no table of weights; take another file")
    for name, value in state.items():
        if not isinstance(name, str) or type(value) not in (Tensor, nn.Parameter):
            raise WeightsError(f"{origin}: {str(name)[:80]} is no tensor; take another file")
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise WeightsError(f"{origin}: {name} is no plain dense tensor; take another file")
        if value.numel() * value.itemsize > value.untyped_storage().nbytes():
            raise WeightsError(f"{origin}: {name} claims more numbers than the file holds; fetch it again")


def published_state(path: Path, keys: tuple[str, ...]) -> dict[str, Tensor]:
    """The weights under the first of `keys` that a published pickle has, by clean key, mapped and not yet read.

    No keys: the pickle itself is the table. Runs nothing of the file: whatever is not a tensor in plain containers is
    refused. Raises WeightsError for that, for a file without any of the keys, and for two names that clean to one.
    """
    state = load_pickle(path)
    if keys:
        have = sorted(map(str, state)) if isinstance(state, dict) else []
        key = next((key for key in keys if key in have), None)
        if key is None:
            raise WeightsError(f"{path}: has no {' or '.join(keys)} but {listing(have)}; take another file")
        state = state[key]
    check_tensors(state, str(path))
    cleaned = {clean_key(name): value.detach() for name, value in state.items()}
    if len(cleaned) < len(state):
        raise WeightsError(f"{path}: two of its weights have the same clean name; take another file")
    return cleaned
