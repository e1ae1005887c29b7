"""Low-rank updates under PEFT's names, merged into the weights they belong to: W + (alpha / r) B A.

A [r, in] and B [out, r] of one linear lie under `base_model.model.<linear>.lora_A.weight` and `.lora_B.weight`, with or
without an adapter's name (`lora_A.default.weight`). Every one of them must be used, or merging fails.
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
    """The names of A and B of one linear, as the file has them."""

    a: str
    b: str


def lora_pairs(names: Iterable[str], origin: str) -> dict[str, Pair]:
    """Weight of a linear (`blocks.0.self_attn.q.weight`) -> its pair. WeightsError lists the names that are in none."""
    sides: dict[str, dict[str, str]] = {}
    odd = []
    for name in names:
        match = NAME.fullmatch(name)
        found = sides.setdefault(f"{clean_key(match['linear'])}.weight", {}) if match else {}
        if match is None or found.setdefault(match["side"], name) != name:
            odd.append(name)
    odd += [name for found in sides.values() if len(found) == 1 for name in found.values()]
    if odd or not sides:
        raise WeightsError(f"{origin}: no pair of lora_A and lora_B for {listing(sorted(odd))}; take another file")
    return {linear: Pair(found["A"], found["B"]) for linear, found in sides.items()}


Shapes = Mapping[str, Shape]


def check_pairs(pairs: Mapping[str, Pair], lora: Shapes, weights: Shapes, origin: str) -> None:
    """WeightsError unless every pair has a weight [out, in] that its product fits."""
    unused = sorted(pairs.keys() - weights.keys())
    if unused:
        raise WeightsError(f"{origin}: updates {listing(unused)}, which the weights lack; take the base it is for")
    for name, pair in pairs.items():
        a, b = lora[pair.a], lora[pair.b]
        if not (len(a) == len(b) == 2 and a[0] == b[1] and (b[0], a[1]) == weights[name]):
            raise WeightsError(f"{origin}: {list(b)} x {list(a)} cannot update {name}, which is {list(weights[name])}")


def merged(weight: Tensor, a: Tensor, b: Tensor, alpha_over_r: float) -> Tensor:
    """W + (alpha / r) B A, summed in float32; in the type and on the device of W, which is not changed."""
    update = b.to(weight.device).float() @ a.to(weight.device).float()
    return update.mul_(alpha_over_r).add_(weight.float()).to(weight.dtype)


def merge_lora(
    weights: Mapping[str, Tensor], lora: Mapping[str, Tensor], alpha_over_r: float = 1.0
) -> dict[str, Tensor]:
    """`weights` (clean names) with every pair of `lora` (PEFT's names) added; both stay as they are."""
    pairs = lora_pairs(lora, "LoRA")
    check_pairs(pairs, shapes_of(lora), shapes_of(weights), "LoRA")
    return {
        name: merged(value, lora[pairs[name].a], lora[pairs[name].b], alpha_over_r) if name in pairs else value
        for name, value in weights.items()
    }
