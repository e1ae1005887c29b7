"""Statistics over prompts: means with 95 % intervals, exact tests, and ranks with ties. Numpy only; knows no files.

Everything that shows an interval or calls a difference real uses this module. The unit is the prompt: seeds of a prompt
are pooled, a prompt without a value is left out and counted, and differences are paired by prompt.

- `interval`: Student's t after Hall's transformation, which corrects for skewness (P. Hall, "On the removal of skewness
  by transformation", J. R. Statist. Soc. B 54, 1992). Simulated coverage: docs/metrics.md, tests/bench/coverage.py.
- `sign_flip_p`: the paired randomisation test; exact for up to 17 prompts. Below MIN_PROMPTS no p can be under 0.05.
- `rank_interval`: ranks of means drawn jointly for all cells, so that what prompts do to all cells alike cancels.

Shapes: B draws, C cells, K comparisons, P prompts. NaN means 'no value'.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

INTERVAL = 0.95
LEVEL = 1 - INTERVAL
MIN_PROMPTS = 6
"""With 5 prompts that all agree, a two-sided sign-flip test has p = 2 / 2^5 = 0.0625; with 6, 2 / 2^6 = 0.031."""
MIN_FOR_SKEWNESS = 5
SEED = 0
DRAWS = 1000
MAX_EXACT = 17
FLIPS_PER_COMPARISON, MIN_FLIPS, BLOCK = 200, 2_000, 20_000
LEAST_PER_COMPARISON, MAX_FLIPS = 80, 100_000
"""Up to BLOCK flips there are FLIPS_PER_COMPARISON, beyond it LEAST_PER_COMPARISON: Holm's correction leaves the
smallest p at 1 / 80, or 3 / 80 if two drawn flips are as far by chance. MAX_FLIPS bounds the time."""
ROUNDING = 1e-12
_SIGNIFICANT_DIGITS = 12


@dataclass(frozen=True)
class Estimate:
    """A mean over the `prompts` that have a value, and the bounds of its interval; None means 'no value'."""

    mean: float | None
    low: float | None
    high: float | None
    prompts: int

    def within(self, least: float, most: float) -> Estimate:
        """With an interval that ends at the least and the greatest possible value; it still contains the mean."""
        if self.mean is None or self.low is None or self.high is None:
            return self
        return replace(self, low=min(max(self.low, least), self.mean), high=max(min(self.high, most), self.mean))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def interval_settings() -> dict[str, Any]:
    """How intervals and tests are computed, which is stored beside them."""
    method, tests = "t after Hall's transformation", "sign flips, Holm"
    limits = {"min_prompts": MIN_PROMPTS, "max_flips": MAX_FLIPS}
    return {"over": "prompts", "interval": INTERVAL, "method": method, "tests": tests, **limits}


def estimate(values_P: Array) -> Estimate:
    """The estimate from one value per prompt. All prompts that have a value have equal weight."""
    known_P = np.isfinite(values_P)
    return pooled_estimate(np.where(known_P, values_P, 0.0), known_P.astype(np.float64))


def pooled_estimate(sums_P: Array, counts_P: Array) -> Estimate:
    """The estimate from the sum and count of the values (over seeds) of each prompt. All values have equal weight."""
    prompts = int((counts_P > 0).sum())
    if not prompts:
        return Estimate(None, None, None, 0)
    mean = float(sums_P.sum() / counts_P.sum())
    low, high = interval(mean, deviations(sums_P, counts_P)) or (None, None)
    return Estimate(mean, low, high, prompts)


def deviations(sums_P: Array, counts_P: Array) -> Array:
    """Deviation of each prompt that has a value from the mean of all values, by the prompt's share of them. Their sum
    is 0, and with one value per prompt they are `values - mean` (the linearised ratio estimator)."""
    known_P = counts_P > 0
    sums, counts = sums_P[known_P], counts_P[known_P]
    result: Array = (sums - counts * (sums.sum() / counts.sum())) / counts.mean()
    return result


def interval(mean: float, deviations_P: Array) -> tuple[float, float] | None:
    """The 95 % interval of a mean from the deviations of its prompts; None for fewer than two. A point if all are 0.

    With T the studentised mean and a = skewness / sqrt(P), H = ((1 + a T / 3)^3 - 1) / a + a / 6 is close to Student's
    t also for skewed values; the bounds are those of |H| <= t, turned back. With fewer than 5 prompts, which say
    little about skewness, they are those of |T| <= t.
    """
    prompts = deviations_P.size
    if prompts < 2:
        return None
    variance = float(np.square(deviations_P).mean())
    if variance <= (ROUNDING * abs(mean)) ** 2:
        return mean, mean
    error = math.sqrt(variance / (prompts - 1))
    if prompts < MIN_FOR_SKEWNESS:
        half = error * t_limit(_tail(prompts), prompts - 1)
        return mean - half, mean + half
    skew = float((deviations_P**3).mean()) / variance**1.5 / math.sqrt(prompts)
    limit = t_limit(_tail(prompts), prompts - 1)
    return mean - error * _turn_back(limit, skew), mean - error * _turn_back(-limit, skew)


def _tail(prompts: int) -> float:
    """The share outside of an interval, less for few prompts. The 8 was fitted to exponential values of 5 prompts."""
    return LEVEL if prompts < MIN_FOR_SKEWNESS else LEVEL * prompts**2 / (prompts**2 + 8)


def _turn_back(transformed: float, a: float) -> float:
    if abs(a) < 1e-6:
        return transformed
    return 3 / a * (math.cbrt(1 + a * (transformed - a / 6)) - 1)


@cache
def t_limit(tail: float, freedom: int) -> float:
    """The point that the absolute value of Student's t exceeds with probability `tail` (Abramowitz and Stegun, 26.7.3
    and 26.7.4, solved by bisection)."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if _t_within(angle, freedom) < 1 - tail else (low, angle)
    return math.sqrt(freedom) * math.tan(low)


def _t_within(angle: float, freedom: int) -> float:
    """P(|t| < sqrt(freedom) tan(angle))."""
    odd = freedom % 2
    term = total = (math.cos(angle) if odd else 1.0) * (freedom > 1)
    for k in range(2 + odd, freedom - 1, 2):
        term *= math.cos(angle) ** 2 * (k - 1) / k
        total += term
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total


# Tests


def sign_flip_p(differences_KP: Array) -> Array:
    """[K]: two-sided p of 'the differences of the prompts are symmetric around 0', for each row of paired differences.

    The share of all sign changes of the differences whose sum is as far from 0 as theirs. NaN counts as no difference,
    which changes no p. With more than MAX_EXACT prompts: of `num_flips` random ones, the observed one included.
    """
    flat_KP = np.where(np.isfinite(differences_KP), differences_KP, 0.0)
    flat_KP = np.where(np.abs(flat_KP) < ROUNDING, 0.0, flat_KP)
    comparisons, prompts = flat_KP.shape
    limits_K = np.abs(flat_KP.sum(axis=1)) - ROUNDING * np.abs(flat_KP).sum(axis=1)
    as_far_K, flips = np.zeros(comparisons), num_flips(prompts, comparisons)
    for start in range(0, flips, BLOCK):
        signs_FP = _signs(prompts, start)[: flips - start].astype(np.float64)
        for k in range(0, comparisons, 32):
            sums_FK = np.abs(signs_FP @ flat_KP[k : k + 32].T)
            as_far_K[k : k + 32] += (sums_FK >= limits_K[k : k + 32]).sum(axis=0)
    p_K: Array = as_far_K / flips
    return p_K


def num_flips(prompts: int, comparisons: int) -> int:
    """The number of sign changes that a test counts; its inverse is the smallest p."""
    if prompts <= MAX_EXACT:
        return 2 ** max(prompts - 1, 0)
    several = min(max(FLIPS_PER_COMPARISON * comparisons, MIN_FLIPS), BLOCK)
    return min(max(several, LEAST_PER_COMPARISON * comparisons), MAX_FLIPS)


def smallest_p(prompts: int, comparisons: int) -> float:
    """The smallest p that a comparison can have after Holm's correction, if all prompts agree."""
    return min(comparisons / num_flips(prompts, comparisons), 1.0)


@cache
def _signs(prompts: int, start: int) -> NDArray[np.int8]:
    """[F, P], read-only: up to BLOCK sign changes from number `start`, the observed signs first. Where all are counted,
    the first sign is fixed, since both tails are counted."""
    if prompts <= MAX_EXACT:
        numbers_F = np.arange(start, min(start + BLOCK, num_flips(prompts, 1)))
        minus_FP = (numbers_F[:, None] >> np.arange(prompts)) & 1
    else:
        minus_FP = np.random.default_rng(SEED + start).integers(0, 2, size=(BLOCK, prompts))
        minus_FP[:1] *= start > 0
    signs_FP: NDArray[np.int8] = np.where(minus_FP, -1, 1).astype(np.int8)
    signs_FP.flags.writeable = False
    return signs_FP


def holm(p_K: Array) -> Array:
    """p after Holm's correction for K comparisons (S. Holm, Scand. J. Statist. 6, 1979)."""
    order_K = np.argsort(p_K, kind="stable")
    steps_K = np.maximum.accumulate(p_K[order_K] * np.arange(len(p_K), 0, -1))
    adjusted_K = np.empty_like(steps_K)
    adjusted_K[order_K] = np.minimum(steps_K, 1.0)
    return adjusted_K


# Ranks


def drawn_means(sums_CP: Array, counts_CP: Array) -> Array:
    """[B, C]: means of the cells drawn from their joint t distribution: the same draws for all cells and all calls with
    as many prompts. A cell with a value for fewer than two prompts is always at its mean, or NaN."""
    cells, prompts = sums_CP.shape
    normal_BP, roots_BP = _draws(prompts)
    means_BC = np.full((DRAWS, cells), np.nan)
    for c in range(cells):
        known_P = counts_CP[c] > 0
        num_known = int(known_P.sum())
        if not num_known:
            continue
        means_BC[:, c] = sums_CP[c].sum() / counts_CP[c].sum()
        if num_known > 1:
            scaled = deviations(sums_CP[c], counts_CP[c]) / math.sqrt(num_known * (num_known - 1))
            means_BC[:, c] += normal_BP[:, known_P] @ scaled / roots_BP[:, num_known - 2]
    return means_BC


@cache
def _draws(prompts: int) -> tuple[Array, Array]:
    """Normal numbers [B, P], and [B, f]: roots of chi-square with f + 1 degrees of freedom over that number."""
    rng = np.random.default_rng(SEED)
    normal_BP = rng.standard_normal((DRAWS, prompts))
    squares = np.square(rng.standard_normal((DRAWS, max(prompts - 1, 0)))).cumsum(axis=1)
    return normal_BP, np.sqrt(squares / np.arange(1, squares.shape[1] + 1))


def rank_interval(rank: float, ranks_B: Array, prompts: int, cells: int) -> tuple[float, float] | None:
    """The 95 % interval of a rank from drawn ranks. None without draws or for a single prompt.

    Noise moves ranks to the middle, and those of draws more so. The interval reaches as far to either side of the rank
    as 95 % of the draws do to the wider one, within 1 and the number of ranked cells.
    """
    known = ranks_B[~np.isnan(ranks_B)]
    if prompts < 2 or not known.size:
        return None
    tail = 50 * _tail(prompts)
    low, high = np.percentile(known, [tail, 100 - tail])
    reach = max(rank - float(low), float(high) - rank)
    return max(rank - reach, 1.0), min(rank + reach, float(cells))


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


def nan_mean(values: Array, axis: int | None = None) -> Array:
    """Mean along an axis without NaN; NaN, without a warning, where all values are NaN."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Array = np.where(known, values, 0.0).sum(axis=axis) / known.sum(axis=axis)
    return means


def mean_known(values: Array) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    return float(nan_mean(values))
