"""Kinds of heads of Pyramid Forcing: from a table in the format of its authors, or by what a head's logits show.

Shapes: h heads, N queries, M keys, T tokens a frame, d head dim.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from longtake.platform.errors import ConfigError
from longtake.platform.methods.parts.measured import MEASURED

if TYPE_CHECKING:
    from longtake.platform.methods.interface.hooks import Seen
    from longtake.platform.models.spec import DiTSpec

WAVE, ANCHOR, VEIL = -1, 1, 2
"""As the table calls them."""
KINDS = WAVE, ANCHOR, VEIL
WAVES, VEILS = 156 / 360, 32 / 360
"""How many of all heads are waves and veils in the published table, of Self-Forcing's Wan 1.3B."""


class HeadKinds:
    """The kinds of all heads per row, `of` [layers, heads] each: those of a table, or measured ones, once known."""

    def __init__(self, table: str, spec: DiTSpec, rows: int):
        self.of = [] if table == MEASURED else [read_kinds(table, spec)] * rows
        self.measured, self.tokens = np.zeros((rows, spec.layers, spec.heads, 2)), spec.frame_tokens

    def measure(self, seen: Seen, recent: int, period: int) -> None:
        self.measured[seen.row, seen.layer] = wave_and_level(seen, self.tokens, recent, period)

    def settle(self) -> None:
        """Sort the heads by what has been measured."""
        self.of = [kinds_by_wave(measured) for measured in self.measured]

    def share(self, kind: int) -> float:
        """How many of all heads are of this kind; while nothing is known, how many will be."""
        return float(np.mean((self.of[0] if self.of else kinds_by_wave(self.measured[0])) == kind))


def read_kinds(path: str, spec: DiTSpec) -> np.ndarray:
    """[layers, heads] of a CSV file without a header: a line a layer, a number a head. Raises ConfigError if it is of
    another format or another network."""
    try:
        with Path(path).open(newline="") as file:
            kinds = [[int(kind) for kind in line] for line in csv.reader(file) if line]
    except OSError as error:
        raise ConfigError(f"table {path}: {error.strerror}; name a CSV file of heads, or set measured") from error
    except ValueError as error:
        raise ConfigError(f"table {path}: is not a CSV of -1, 1 and 2, a line a layer and a number a head") from error
    if [len(line) for line in kinds] != [spec.heads] * spec.layers:
        sizes = f"{len(kinds)} lines of {' or '.join(map(str, sorted({*map(len, kinds)}))) or 0} numbers"
        ours = f"the backbone has {spec.layers} layers of {spec.heads} heads"
        raise ConfigError(f"table {path}: has {sizes}; {ours}; name a table of this network, or set measured")
    if unknown := {kind for line in kinds for kind in line} - {WAVE, ANCHOR, VEIL}:
        raise ConfigError(f"table {path}: holds {min(unknown)}; must be -1 (wave), 1 (anchor) or 2 (veil)")
    return np.array(kinds)


def wave_and_level(seen: Seen, tokens: int, recent: int, period: int) -> np.ndarray:
    """[h, 2], float64: how much of the variation of a head's logits over the past has this period, from 0 to 1, and
    their mean. The logits are those of the block's middle frame to each past frame but the newest, in the mean over the
    tokens of both (which is the product of the mean query and the mean key), over as many whole periods as there are.

    `seen` attends every frame so far; `recent`: the newest frames, the block's included, that do not count."""
    middle, end = len(seen.new) // 2 * tokens, seen.keys.shape[1] // tokens - recent
    query = seen.rotated_query[:, middle : middle + tokens].float().mean(dim=1)
    past = seen.rotated_keys.unflatten(1, (-1, tokens))[:, end % period : end].float().mean(dim=2)
    logits = ((past @ query[..., None])[..., 0] * query.shape[1] ** -0.5).double().cpu().numpy()
    level, frames = logits.mean(axis=1), logits.shape[1]
    off = logits - level[:, None]
    turns = np.exp(2j * np.pi * np.arange(frames) / period)
    power = np.maximum((off**2).sum(axis=1), np.finfo(float).tiny)
    return np.stack([2 / frames * abs(off @ turns) ** 2 / power, level], axis=1)


def kinds_by_wave(measured: np.ndarray) -> np.ndarray:
    """[layers, heads], from `wave_and_level` [layers, heads, 2]: the heads with the strongest wave are waves, of the
    others those of the lowest level are veils, as many as in the published table; the rest are anchors. The first of
    equals comes first."""
    wave, level = measured.reshape(-1, 2).T
    waves, veils = round(len(wave) * WAVES), round(len(wave) * VEILS)
    order = (-wave).argsort(kind="stable")
    kinds = np.full(len(wave), ANCHOR)
    kinds[order[:waves]] = WAVE
    rest = np.sort(order[waves:])
    kinds[rest[level[rest].argsort(kind="stable")[:veils]]] = VEIL
    return kinds.reshape(measured.shape[:2])
