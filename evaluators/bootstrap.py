"""The arithmetic of ranks: mean ranks with ties, and a paired bootstrap over prompts. Numpy only; knows no tables.

Shapes: `values_..C` has one entry per cell, `_P` per prompt, `_B` per resample. NaN means 'has no score'.
"""

from __future__ import annotations

import numpy as np

from longtake.platform.spread import Array, resample_weights

__all__ = [
    "Array", "interval", "mean_and_interval", "mean_ranks", "nan_mean", "resample_weights", "settled", "weighted_means",
]  # fmt: skip

RESAMPLES = 1000
INTERVAL = 0.95
_SIGNIFICANT_DIGITS = 12


def mean_ranks(values_BC: Array, higher_is_better: bool) -> Array:
    """Rank within each row, 1 is best; equal values share the mean of their places; NaN has no rank."""
    v = settled(values_BC if higher_is_better else -values_BC)
    better = (v[:, None, :] > v[:, :, None]).sum(axis=2)
    equal = (v[:, None, :] == v[:, :, None]).sum(axis=2)
    return np.where(np.isnan(v), np.nan, better + (equal + 1) / 2)


def settled(values: Array) -> Array:
    """Rounded to 12 significant digits, so that summing in another order cannot break a tie."""
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = _SIGNIFICANT_DIGITS - 1 - np.floor(np.log10(np.abs(values)))
    scale = 10.0 ** np.where(np.isfinite(digits), np.clip(digits, -300, 300), 0.0)
    return np.round(values * scale) / scale


def weighted_means(weights_BP: Array, sums_CP: Array, counts_CP: Array) -> Array:
    """[B, C]: mean over prompts (and the seeds summed within them); NaN where nothing was drawn."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Array = (weights_BP @ sums_CP.T) / (weights_BP @ counts_CP.T)
    return means


def interval(samples_B: Array) -> list[float] | None:
    """Percentile interval of the samples that exist; None when there is none."""
    known = samples_B[~np.isnan(samples_B)]
    if not known.size:
        return None
    low, high = np.percentile(known, [50 * (1 - INTERVAL), 50 * (1 + INTERVAL)])
    return [float(low), float(high)]


def mean_and_interval(sums_P: Array, counts_P: Array, weights_BP: Array) -> tuple[float | None, list[float] | None]:
    """Mean of what exists, and its interval over resamples of the prompts; one prompt alone says nothing of others."""
    known = int((counts_P > 0).sum())
    if not known:
        return None, None
    mean = float(sums_P.sum() / counts_P.sum())
    return mean, interval(weighted_means(weights_BP, sums_P[None], counts_P[None])[:, 0]) if known > 1 else None


def nan_mean(values: Array, axis: int) -> Array:
    """Mean of what exists along an axis, NaN (without a warning) where nothing does."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Array = np.where(known, values, 0.0).sum(axis=axis) / known.sum(axis=axis)
    return means
