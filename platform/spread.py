"""Means over prompts with their spread: percentiles of a bootstrap that draws prompts, the same draws for everybody.

A prompt without a value is left out and counted; one prompt has a mean and no interval.

Legend: P prompts, B resamples.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 2000
BOUNDS = (2.5, 97.5)


@dataclass(frozen=True)
class Spread:
    """Mean over the `prompts` that have a value, and its 95 % interval; None is 'no value'."""

    mean: float | None
    low: float | None
    high: float | None
    prompts: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def resample_weights(prompts: int, resamples: int, seed: int) -> Array:
    """[B, P]: how often each prompt is drawn in each resample; the same draws serve everybody (paired)."""
    drawn = np.random.default_rng(seed).integers(0, prompts, size=(resamples, prompts))
    return np.stack([np.bincount(row, minlength=prompts) for row in drawn]).astype(np.float64)


def draws(prompts: int, seed: int) -> Array:
    return resample_weights(prompts, RESAMPLES, seed)


def spread(values_P: Array, draws_BP: Array) -> Spread:
    known_P = np.isfinite(values_P)
    count = int(known_P.sum())
    if not count:
        return Spread(None, None, None, 0)
    mean = float(values_P[known_P].mean())
    if count == 1:
        return Spread(mean, None, None, 1)
    weights_BP = draws_BP[:, known_P]
    with np.errstate(invalid="ignore"):
        means_B = weights_BP @ values_P[known_P] / weights_BP.sum(axis=1)
    low, high = np.nanpercentile(means_B, BOUNDS)
    return Spread(mean, float(low), float(high), count)


def mean_known(values: Array) -> float:
    """Mean of what is a number; NaN when nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.nanmean(values)) if values.size else float("nan")
