"""Weights from files into networks: key clean-up, strict loading, hashes.

Every weight that the network has must be in the file and every weight in the file must be used; anything else is an
error that lists both sides. Only safetensors are read here: they hold numbers and cannot hold code.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from longtake.platform.errors import WeightsError

RESIDUES = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
"""Parts that training wrappers leave in published key names."""


def clean_key(key: str) -> str:
    """A published key without its `model.` prefix and wrappers' residues."""
    for residue in RESIDUES:
        key = key.replace(residue, "")
    return key.removeprefix("model.")


def load_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, by clean key."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {clean_key(key): value for key, value in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({error}); fetch or convert it again") from error


def load_strict(network: nn.Module, weights: dict[str, Tensor], origin: Path) -> None:
    """Copy `weights` into `network`, in the network's dtype; WeightsError on any difference in names or shapes."""
    own = network.state_dict()
    missing, unexpected = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or unexpected:
        raise WeightsError(f"{origin}: missing {listing(missing)}; unexpected {listing(unexpected)}")
    for key, value in weights.items():
        if value.shape != own[key].shape:
            shapes = f"{list(value.shape)}, the architecture needs {list(own[key].shape)}"
            raise WeightsError(f"{origin}: {key} has shape {shapes}")
        if not value.isfinite().all():
            raise WeightsError(f"{origin}: {key} holds numbers that are not finite; fetch the file again")
    network.load_state_dict(weights)


def listing(keys: list[str], most: int = 5) -> str:
    if not keys:
        return "nothing"
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def sha256(path: Path) -> str:
    """Hash of a weights file; WeightsError names the file if it is not there."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}; the backbone cannot run without it") from error


def read_json(path: Path) -> dict[str, Any]:
    """A json file that goes with weights."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as json ({error})") from error
