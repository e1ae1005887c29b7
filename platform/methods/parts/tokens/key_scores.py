"""What TriAttention knows of a head's queries, and the score that it gives keys for it.

Shapes: L layers, h heads, d head dim, c = d / 2 complex pairs, N queries, C keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.platform.errors import ConfigError
from longtake.platform.methods.parts.measured import MEASURED

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.platform.methods.interface.hooks import Seen
    from longtake.platform.methods.parts.tokens.candidates import Candidates
    from longtake.platform.models.spec import DiTSpec

NAMES = ("q_mean_real", "q_mean_imag", "q_abs_mean")
"""Tensors [L, h, c] of a file of statistics."""
SPREAD = 1e-6
"""The least standard deviation that scores are divided by, as in the released code."""


@dataclass(frozen=True)
class QueryStatistics:
    """Of a layer's queries before rotation, per complex pair: their sum and that of their lengths [h, c]."""

    total: Tensor
    lengths: Tensor
    count: int = 1

    def plus(self, query: Tensor) -> QueryStatistics:
        """With the queries [h, N, d]."""
        more = pairs(query)
        total, lengths = self.total + more.sum(dim=1), self.lengths + more.abs().sum(dim=1)
        return QueryStatistics(total, lengths, self.count + query.shape[1])


class KeyScores:
    """Scores by the statistics of a file, or by those of the queries that it has seen before its first score.

    `by_slot`: keys stay rotated by as many rows and columns as lie between a token's place and that of its slot.
    `shared`: a layer's scores are standardised per head (if `standardised`) and added to those of the layers before.
    `largest`: of the distances, the largest counts, not the mean.
    """

    def __init__(
        self,
        spec: DiTSpec,
        statistics: str,
        furthest: int,
        by_slot: bool = False,
        shared: bool = False,
        largest: bool = False,
        standardised: bool = True,
    ):
        self.spec, self.offsets = spec, [2**i for i in range(furthest.bit_length())]
        self.by_slot, self.shared, self.largest, self.standardised = by_slot, shared, largest, standardised
        self.total: dict[int, Tensor] = {}
        self.known = None if statistics == MEASURED else read_statistics(statistics, spec)
        self.measured: dict[tuple[int, int], QueryStatistics] = {}
        self.used: set[tuple[int, int]] = set()

    def add(self, seen: Seen) -> None:
        """Take the queries of a layer and row into account, unless its keys have been scored."""
        import torch

        key = seen.row, seen.layer
        if self.known is None and key not in self.used:
            zero = torch.zeros(seen.query.shape[0], seen.query.shape[2] // 2, device=seen.query.device)
            self.measured[key] = self.measured.get(key, QueryStatistics(zero, zero, 0)).plus(seen.query)

    def score(self, row: int, layer: int, found: Candidates, end: int) -> Tensor:
        """[h, C], of a layer's and row's candidates, which are held in this order behind whole frames and before
        `end`."""
        scores = self.own(row, layer, found, end)
        if not self.shared:
            return scores
        if self.standardised:
            spread = scores.std(dim=1, correction=0, keepdim=True).clamp(min=SPREAD)
            scores = (scores - scores.mean(dim=1, keepdim=True)) / spread
        self.total[row] = scores + (self.total[row] if layer else 0)
        return self.total[row]

    def own(self, row: int, layer: int, found: Candidates, end: int) -> Tensor:
        """The scores of a layer alone."""
        import torch

        from longtake.platform.models.rope import axis_angles

        self.used.add((row, layer))
        spec, size, columns, device = self.spec, found.size, self.spec.token_columns, found.ids.device
        statistics = self.measured[row, layer] if self.known is None else self.known[layer]
        mean, length = (x.to(device)[:, None] / statistics.count for x in (statistics.total, statistics.lengths))
        token = slot = found.ids % size
        if self.by_slot:
            slot = (torch.arange(found.ids.shape[1], device=device) % size).expand_as(token)
        away = end - found.ids // size, slot // columns - token // columns, slot % columns - token % columns
        axes = zip(away, spec.split, strict=True)
        angles = [axis_angles(x.flatten(), count, spec.rope_theta).unflatten(0, x.shape) for x, count in axes]
        ahead = axis_angles(torch.tensor(self.offsets, device=device), spec.split[0], spec.rope_theta)
        turns, key = unit(torch.cat(angles, dim=-1)), pairs(found.keys)
        further = unit(ahead) if self.largest else unit(ahead).mean(dim=0, keepdim=True)
        aligned = torch.stack([self.aligned(mean * key.conj(), turns, turn) for turn in further]).amax(dim=0)
        return aligned + ((length - mean.abs()) * key.abs()).sum(dim=-1)

    def aligned(self, products: Tensor, turns: Tensor, further: Tensor) -> Tensor:
        """[h, C]: the real parts of products [h, C, c], turned by `turns` and, those in time, `further`; summed."""
        import torch

        time, rest = turns.split([self.spec.split[0], turns.shape[-1] - self.spec.split[0]], dim=-1)
        turned = torch.cat([time * further, rest], dim=-1)
        return (products * turned.to(products.dtype)).real.sum(dim=-1)


def pairs(x: Tensor) -> Tensor:
    """[..., d] -> [..., c], complex64: the pairs of neighbouring numbers that rotary embeddings turn."""
    import torch

    return torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())


def unit(angles: Tensor) -> Tensor:
    import torch

    return torch.polar(torch.ones_like(angles), angles)


def read_statistics(path: str, spec: DiTSpec) -> list[QueryStatistics]:
    """Of every layer, from `q_mean_real`, `q_mean_imag` and `q_abs_mean`. Raises ConfigError if they do not fit."""
    import torch

    from longtake.platform.checkpoints.files import load_safetensors

    tensors, shape = load_safetensors(Path(path)), (spec.layers, spec.heads, spec.head_dim // 2)
    for name in NAMES:
        found = tuple(tensors[name].shape) if name in tensors else "missing"
        if found != shape:
            raise ConfigError(f"statistics {path}: {name} is {found}; the backbone needs {shape}")
    real, imaginary, lengths = (tensors[name].float() for name in NAMES)
    return [QueryStatistics(*layer) for layer in zip(torch.complex(real, imaginary), lengths, strict=True)]
