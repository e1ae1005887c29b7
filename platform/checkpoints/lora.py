"""Merges a LoRA, under PEFT's names, into the weights that it updates: W + (alpha / r) B A.

A [r, in] and B [out, r] of one linear layer are named `base_model.model.<linear>.lora_A.weight` and `.lora_B.weight`,
with or without an adapter's name (`lora_A.default.weight`). Merging fails unless all of them are used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longtake.platform.checkpoints.keys import Shape, clean_key, listing, shapes_of
from longtake.platform.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

NAME = re.compile(r"(base_model\.model\.)?(?P<linear>.+)\.lora_(?P<side>[AB])(\.[^.]+)?\.weight")


@dataclass(frozen=True)
class Pair:
    """The names of A and B of one linear layer in the file."""

    a: str
    b: str


def lora_pairs(names: Iterable[str], origin: str) -> dict[str, Pair]:
    """Name of a weight (`blocks.0.self_attn.q.weight`) -> its pair. Raises WeightsError for names without one."""
    sides: dict[str, dict[str, str]] = {}
    unpaired = []
    for name in names:
        match = NAME.fullmatch(name)
        pair = sides.setdefault(f"{clean_key(match['linear'])}.weight", {}) if match else {}
        if match is None or pair.setdefault(match["side"], name) != name:
            unpaired.append(name)
    unpaired += [name for pair in sides.values() if len(pair) == 1 for name in pair.values()]
    if unpaired or not sides:
        raise WeightsError(f"{origin}: no pair of lora_A and lora_B for {listing(sorted(unpaired))}; use another file")
    return {linear: Pair(pair["A"], pair["B"]) for linear, pair in sides.items()}


Shapes = Mapping[str, Shape]


def check_pairs(pairs: Mapping[str, Pair], lora: Shapes, weights: Shapes, origin: str) -> None:
    """Raises WeightsError unless the product of every pair has the shape [out, in] of its weight."""
    unused = sorted(pairs.keys() - weights.keys())
    if unused:
        raise WeightsError(f"{origin}: updates {listing(unused)}, not in the weights; use the base of this LoRA")
    for name, pair in pairs.items():
        a, b = lora[pair.a], lora[pair.b]
        if not (len(a) == len(b) == 2 and a[0] == b[1] and (b[0], a[1]) == weights[name]):
            raise WeightsError(f"{origin}: {list(b)} x {list(a)} cannot update {name}, which is {list(weights[name])}")


def merged(weight: Tensor, a: Tensor, b: Tensor, alpha_over_r: float) -> Tensor:
    """W + (alpha / r) B A, summed in float32, in the dtype and on the device of W, which is not changed."""
    update = b.to(weight.device).float() @ a.to(weight.device).float()
    return update.mul_(alpha_over_r).add_(weight.float()).to(weight.dtype)


def merge_lora(
    weights: Mapping[str, Tensor], lora: Mapping[str, Tensor], alpha_over_r: float = 1.0
) -> dict[str, Tensor]:
    """`weights` (clean names) with every pair of `lora` (PEFT's names) added. Changes neither argument."""
    pairs = lora_pairs(lora, "LoRA")
    check_pairs(pairs, shapes_of(lora), shapes_of(weights), "LoRA")
    return {
        name: merged(value, lora[pairs[name].a], lora[pairs[name].b], alpha_over_r) if name in pairs else value
        for name, value in weights.items()
    }
