"""How often the intervals of platform/stats.py contain the true mean, by simulation, and how often its tests are wrong.

    .venv/bin/python -m tests.bench.coverage [--samples 20000] [--out docs/measurements/coverage.csv]

Each row is a kind of values and a number of prompts. `longtake`: the share of samples whose 95 % interval contains the
true mean; `t`: the same for Student's t; `percentile`: for a percentile bootstrap of 1,000 resamples (of a tenth of the
samples), which is what an interval over few prompts must not be; `width`: median width over that of t. `wrong`: how
often a sign-flip test calls the difference of two such values, which is 0 on average, real at p < 0.05. `rank`: how
often the interval of an average rank over three metrics contains that of the true means, for four cells that share
each prompt's difficulty (of a hundredth of the samples).
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from longtake.platform import stats

Draw = Callable[[np.random.Generator, tuple[int, int]], stats.Array]

KINDS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, size: rng.normal(size=size), 0.0),
    "heavy tails (t, 4 degrees)": (lambda rng, size: rng.standard_t(4, size=size), 0.0),
    "exponential": (lambda rng, size: rng.exponential(size=size), 1.0),
    "gamma (shape 4)": (lambda rng, size: rng.gamma(4.0, size=size), 4.0),
    "lognormal (sigma 0.5)": (lambda rng, size: rng.lognormal(0.0, 0.5, size=size), math.exp(0.125)),
    "lognormal (sigma 1)": (lambda rng, size: rng.lognormal(size=size), math.exp(0.5)),
    "uniform": (lambda rng, size: rng.random(size), 0.5),
    "beta (8, 2)": (lambda rng, size: rng.beta(8.0, 2.0, size=size), 0.8),
    "beta (5, 1)": (lambda rng, size: rng.beta(5.0, 1.0, size=size), 5 / 6),
    "beta (5, 0.5), near a ceiling": (lambda rng, size: rng.beta(5.0, 0.5, size=size), 5 / 5.5),
    "beta (0.5, 0.5), two-humped": (lambda rng, size: rng.beta(0.5, 0.5, size=size), 0.5),
}
PROMPTS = (3, 5, 6, 8, 12, 16, 32)
EFFECTS_MC = np.array([[0.0, 0.3, 0.3, 1.0], [0.0, 0.1, 0.5, 0.9], [0.4, 0.0, 0.4, 0.8]])
"""True means of three metrics of the four cells of `rank`, in standard deviations."""


def intervals(values_SP: stats.Array) -> stats.Array:
    """[S, 2]: the interval of each sample of prompts."""
    means_S = values_SP.mean(axis=1)
    found = [stats.interval(float(mean), row_P - mean) for mean, row_P in zip(means_S, values_SP, strict=True)]
    return np.array(found, dtype=np.float64)


def t_intervals(values_SP: stats.Array) -> stats.Array:
    prompts = values_SP.shape[1]
    half_S = stats.t_limit(0.05, prompts - 1) * values_SP.std(axis=1, ddof=1) / math.sqrt(prompts)
    return values_SP.mean(axis=1)[:, None] + half_S[:, None] * np.array([-1.0, 1.0])


def percentile_intervals(values_SP: stats.Array, rng: np.random.Generator) -> stats.Array:
    prompts = values_SP.shape[1]
    weights_BP = rng.multinomial(prompts, np.full(prompts, 1 / prompts), size=1000) / prompts
    return np.percentile(weights_BP @ values_SP.T, [2.5, 97.5], axis=0).T


def share_within(bounds_S2: stats.Array, truth: float) -> float:
    return float(((bounds_S2[:, 0] <= truth) & (truth <= bounds_S2[:, 1])).mean())


def wrong_share(first_SP: stats.Array, second_SP: stats.Array) -> float:
    """How often a test calls two values real that are different by chance only."""
    return float((stats.sign_flip_p(first_SP - second_SP) < stats.LEVEL).mean())


def rank_share(draw: Draw, rng: np.random.Generator, samples: int, prompts: int) -> float:
    """How often the interval of an average rank contains the true one, over samples and cells."""
    metrics, cells = EFFECTS_MC.shape
    true_C = stats.mean_ranks(EFFECTS_MC, True).mean(axis=0)
    scale = draw(rng, (1, 10_000)).std()
    found = []
    for _ in range(samples):
        own_MCP = np.stack([draw(rng, (cells, prompts)) + 2 * draw(rng, (1, prompts)) for _ in range(metrics)])
        scores_MCP = own_MCP / scale + EFFECTS_MC[:, :, None]
        ranks_C = stats.mean_ranks(scores_MCP.mean(axis=2), True).mean(axis=0)
        means_MBC = [stats.drawn_means(scores_CP, np.ones_like(scores_CP)) for scores_CP in scores_MCP]
        ranks_BC = np.mean([stats.mean_ranks(means_BC, True) for means_BC in means_MBC], axis=0)
        bounds = [stats.rank_interval(*one, prompts, cells) for one in zip(ranks_C, ranks_BC.T, strict=True)]
        found += [low <= rank <= high for (low, high), rank in zip(bounds, true_C, strict=True)]
    return float(np.mean(found))


def row_of(kind: str, prompts: int, samples: int) -> dict[str, Any]:
    rng = np.random.default_rng([prompts, *kind.encode()])
    draw, truth = KINDS[kind]
    values_SP = draw(rng, (samples, prompts))
    ours, plain = intervals(values_SP), t_intervals(values_SP)
    few_SP = values_SP[: max(1, samples // 10)]
    return {
        "values": kind,
        "prompts": prompts,
        "longtake": share_within(ours, truth),
        "t": share_within(plain, truth),
        "percentile": share_within(percentile_intervals(few_SP, rng), truth),
        "width": float(np.median((ours[:, 1] - ours[:, 0]) / (plain[:, 1] - plain[:, 0]))),
        "wrong": wrong_share(few_SP, draw(rng, few_SP.shape)),
        "rank": rank_share(draw, rng, max(1, samples // 100), prompts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of the intervals of platform/stats.py, by simulation.")
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--out", type=Path, help="a CSV file")
    options = parser.parse_args()
    rows = []
    for kind, prompts in itertools.product(KINDS, PROMPTS):
        row = row_of(kind, prompts, options.samples)
        rows.append({key: f"{value:.3f}" if isinstance(value, float) else value for key, value in row.items()})
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    if options.out is not None:
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
