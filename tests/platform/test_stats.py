"""Means, intervals and ranks worked out by hand."""

import numpy as np
import pytest

from longtake.platform.stats import (
    RESAMPLES,
    SEED,
    Estimate,
    estimate,
    estimates,
    mean_known,
    mean_ranks,
    resample_weights,
)


def test_interval_is_that_of_resampled_means():
    values = np.array([0.1, 0.5, 0.2, 0.9])
    drawn = np.random.default_rng(SEED).integers(0, 4, size=(RESAMPLES, 4))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    found = estimate(values, resample_weights(4))
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high))


def test_draws_are_the_same_for_everybody_and_cannot_be_changed():
    weights_BP = resample_weights(7)
    assert weights_BP.shape == (1000, 7)
    assert (weights_BP.sum(axis=1) == 7).all()
    assert (weights_BP == resample_weights(7, SEED)).all()
    assert (weights_BP != resample_weights(7, SEED + 1)).any()
    with pytest.raises(ValueError, match="read-only"):
        weights_BP[0, 0] = 1


def test_an_estimate_counts_the_prompts_that_have_a_value():
    two = estimate(np.array([1.0, np.nan, 3.0]), resample_weights(3))
    assert two == Estimate(2.0, 1.0, 3.0, 2)  # of the resamples with a value over 2.5 % draw the first of them alone
    assert estimate(np.array([4.0]), resample_weights(1)).to_json() == {
        "mean": 4.0, "low": None, "high": None, "prompts": 1,
    }  # fmt: skip
    assert estimate(np.array([np.nan]), resample_weights(1)) == Estimate(None, None, None, 0)
    assert mean_known(np.array([1.0, np.nan, 3.0])) == 2.0
    assert np.isnan(mean_known(np.array([])))


def test_seeds_count_as_often_as_they_have_a_value():
    """The first cell has 1 and 3 at one prompt, 5 at the other: 9 / 3, not (2 + 5) / 2. The second has one prompt."""
    sums_CP, counts_CP = np.array([[4.0, 5.0], [0.0, 6.0]]), np.array([[2.0, 1.0], [0.0, 2.0]])
    first, second = estimates(sums_CP, counts_CP, resample_weights(2))
    assert first == Estimate(3.0, 2.0, 5.0, 2)
    assert second == Estimate(3.0, None, None, 1)


def test_an_interval_narrows_with_prompts_as_theory_says():
    """100 values of standard deviation 1 (half 0, half 2): the mean's interval is 1 +- 1.96 / 10."""
    found = estimate(np.repeat([0.0, 2.0], 50), resample_weights(100))
    assert found.low == pytest.approx(0.804, abs=0.03)
    assert found.high == pytest.approx(1.196, abs=0.03)


def test_mean_ranks_share_ties_and_skip_nan():
    values = np.array([[3.0, 1.0, 3.0, np.nan, 2.0]])
    # higher is better: the two 3s hold places 1 and 2 = 1.5 each, then 2, then 1
    assert mean_ranks(values, True)[0].tolist()[:3] == [1.5, 4.0, 1.5]
    assert mean_ranks(values, False)[0].tolist()[:3] == [3.5, 1.0, 3.5]
    assert np.isnan(mean_ranks(values, True)[0, 3])
    assert mean_ranks(np.array([[0.1 + 0.2, 0.3, 0.0, -0.0]]), True)[0].tolist() == [1.5, 1.5, 3.5, 3.5]
