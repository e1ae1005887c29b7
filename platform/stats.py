"""Statistics over prompts: means with 95 % intervals, and ranks with ties. Numpy only; knows no tables and no files.

Intervals are percentiles of a paired bootstrap: each resample draws prompts, the same ones for every cell and metric. A
prompt without a value is left out and counted; a single prompt has a mean and no interval.

Shapes: B resamples, C cells, P prompts. NaN means 'no value'.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 1000
INTERVAL = 0.95
SEED = 0
_SIGNIFICANT_DIGITS = 12


@dataclass(frozen=True)
class Estimate:
    """A mean over the `prompts` that have a value, and the bounds of its interval; None means 'no value'."""

    mean: float | None
    low: float | None
    high: float | None
    prompts: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def bootstrap_settings(seed: int = SEED) -> dict[str, Any]:
    """The settings of the intervals, which are stored beside them."""
    return {"over": "prompts", "resamples": RESAMPLES, "seed": seed, "interval": INTERVAL}


@cache
def resample_weights(prompts: int, seed: int = SEED) -> Array:
    """[B, P], read-only: how often each resample draws each prompt."""
    draws = np.random.default_rng(seed).integers(0, prompts, size=(RESAMPLES, prompts))
    weights_BP = np.stack([np.bincount(row, minlength=prompts) for row in draws]).astype(np.float64)
    weights_BP.flags.writeable = False
    return weights_BP


def estimate(values_P: Array, weights_BP: Array) -> Estimate:
    """The estimate from one value per prompt. All prompts that have a value have equal weight."""
    known_P = np.isfinite(values_P)
    return estimates(np.where(known_P, values_P, 0.0)[None], known_P[None].astype(np.float64), weights_BP)[0]


def estimates(sums_CP: Array, counts_CP: Array, weights_BP: Array) -> list[Estimate]:
    """One per cell, from the sums and counts of its values at each prompt (over seeds). All values have equal weight.

    To get the exact numbers of ranks.json, pass all cells of a length, sorted: BLAS rounds other shapes differently.
    """
    means_C = weighted_means(np.ones((1, sums_CP.shape[1])), sums_CP, counts_CP)[0]
    means_CB = weighted_means(weights_BP, sums_CP, counts_CP).T
    prompts_C = (counts_CP > 0).sum(axis=1)
    cells = []
    for mean, means_B, prompts in zip(means_C, means_CB, prompts_C, strict=True):
        low, high = interval(means_B, prompts) or (None, None)
        cells.append(Estimate(number(mean), low, high, int(prompts)))
    return cells


def weighted_means(weights_BP: Array, sums_CP: Array, counts_CP: Array) -> Array:
    """[B, C]: mean over prompts (and the seeds summed within them); NaN for a resample without values."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Array = (weights_BP @ sums_CP.T) / (weights_BP @ counts_CP.T)
    return means


def interval(samples_B: Array, prompts: int) -> tuple[float, float] | None:
    """Percentile interval of the samples that are not NaN. `prompts`: the number of prompts behind the samples. None
    without samples or for a single prompt."""
    known = samples_B[~np.isnan(samples_B)]
    if prompts < 2 or not known.size:
        return None
    low, high = np.percentile(known, [50 * (1 - INTERVAL), 50 * (1 + INTERVAL)])
    return float(low), float(high)


def number(value: float) -> float | None:
    """The value for JSON: None for NaN."""
    return None if math.isnan(value) else float(value)


def nan_mean(values: Array, axis: int | None = None) -> Array:
    """Mean along an axis without NaN; NaN, without a warning, where all values are NaN."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Array = np.where(known, values, 0.0).sum(axis=axis) / known.sum(axis=axis)
    return means


def mean_known(values: Array) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    return float(nan_mean(values))


def mean_ranks(values_BC: Array, higher_is_better: bool) -> Array:
    """Rank within each row, 1 is best. Equal values get the mean of their ranks; NaN has no rank."""
    v = round_significant(values_BC if higher_is_better else -values_BC)
    better = (v[:, None, :] > v[:, :, None]).sum(axis=2)
    equal = (v[:, None, :] == v[:, :, None]).sum(axis=2)
    return np.where(np.isnan(v), np.nan, better + (equal + 1) / 2)


def round_significant(values: Array) -> Array:
    """Round to 12 significant digits, so that the order of a summation cannot break a tie."""
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = _SIGNIFICANT_DIGITS - 1 - np.floor(np.log10(np.abs(values)))
    scale = 10.0 ** np.where(np.isfinite(digits), np.clip(digits, -300, 300), 0.0)
    return np.round(values * scale) / scale
