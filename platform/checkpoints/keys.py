"""Names and shapes of weights: cleans published names and compares a file with an architecture."""

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
    """A published key without the `model.` prefix and the parts that wrappers leave."""
    for residue in RESIDUES:
        key = key.replace(residue, "")
    return key.removeprefix("model.")


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, Shape]:
    return {name: tuple(value.shape) for name, value in weights.items()}


def check_fit(shapes: Mapping[str, Shape], expected: Mapping[str, Shape], origin: str) -> None:
    """Raises WeightsError, with the names or shapes of both sides, unless they are equal."""
    missing, unexpected = sorted(expected.keys() - shapes.keys()), sorted(shapes.keys() - expected.keys())
    if missing or unexpected:
        raise WeightsError(f"{origin}: missing {listing(missing)}; unexpected {listing(unexpected)}")
    different = [name for name in expected if shapes[name] != expected[name]]
    for name in different:
        both = f"{list(shapes[name])}, the architecture needs {list(expected[name])}"
        more = f"; {len(different) - 1} more differ" if len(different) > 1 else ""
        raise WeightsError(f"{origin}: {name} has shape {both}{more}")


def listing(keys: list[str], most: int = 5) -> str:
    if not keys:
        return "nothing"
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
