"""Names and shapes of weights: what published names are called here, and how a file may differ from an architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from longtake.platform.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

RESIDUES = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
"""Parts that training wrappers leave in published key names."""

Shape = tuple[int, ...]


def clean_key(key: str) -> str:
    """A published key without its `model.` prefix and wrappers' residues."""
    for residue in RESIDUES:
        key = key.replace(residue, "")
    return key.removeprefix("model.")


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, Shape]:
    return {name: tuple(value.shape) for name, value in weights.items()}


def check_fit(found: Mapping[str, Shape], needed: Mapping[str, Shape], origin: str) -> None:
    """WeightsError that lists both sides' names, or both shapes, unless they are the same."""
    missing, unexpected = sorted(needed.keys() - found.keys()), sorted(found.keys() - needed.keys())
    if missing or unexpected:
        raise WeightsError(f"{origin}: missing {listing(missing)}; unexpected {listing(unexpected)}")
    other = [name for name in needed if found[name] != needed[name]]
    for name in other:
        shapes = f"{list(found[name])}, the architecture needs {list(needed[name])}"
        more = f"; {len(other) - 1} more differ" if len(other) > 1 else ""
        raise WeightsError(f"{origin}: {name} has shape {shapes}{more}")


def listing(keys: list[str], most: int = 5) -> str:
    if not keys:
        return "nothing"
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
