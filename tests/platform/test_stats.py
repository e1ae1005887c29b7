"""Means, intervals, tests and ranks: worked out by hand, against SciPy's numbers, and by simulation."""

import numpy as np
import pytest

from longtake.platform.stats import (
    BLOCK,
    FLIPS_PER_COMPARISON,
    MAX_FLIPS,
    MIN_FLIPS,
    MIN_PROMPTS,
    Estimate,
    _signs,
    drawn_means,
    estimate,
    holm,
    mean_known,
    mean_ranks,
    pooled_estimate,
    rank_interval,
    sign_flip_p,
    smallest_p,
    t_limit,
)
from tests.bench import coverage


def test_limits_of_t_are_those_of_scipy():
    # scipy.stats.t.isf(tail / 2, freedom), SciPy 1.17.1
    golden = {
        (0.05, 1): 12.7062047362, (0.05, 2): 4.3026527297, (0.05, 4): 2.7764451052, (0.05, 15): 2.1314495456,
        (0.01, 5): 4.0321429836, (0.05, 127): 1.9788195347,
    }  # fmt: skip
    for (tail, freedom), limit in golden.items():
        assert t_limit(tail, freedom) == pytest.approx(limit, rel=1e-9)


def test_few_prompts_have_the_interval_of_t():
    """1, 2, 6: mean 3, standard deviation sqrt(7), so 3 +- 4.3027 sqrt(7 / 3)."""
    found = estimate(np.array([1.0, 2.0, 6.0]))
    assert (found.mean, found.low, found.high) == pytest.approx((3, 3 - 6.5725, 3 + 6.5725), abs=1e-3)


def test_the_interval_of_symmetric_values_is_that_of_t_with_a_smaller_tail():
    """-2..2 has no skewness: 0 +- t sqrt(2.5 / 5), where t has 4 degrees and the tail is .05 * 25 / 33."""
    found = estimate(np.array([-2.0, -1.0, 0.0, 1.0, 2.0]))
    half = 3.0540281493 * np.sqrt(0.5)  # scipy.stats.t.isf(.025 * 25 / 33, 4)
    assert (found.low, found.high) == pytest.approx((-half, half), abs=1e-6)


def test_the_interval_of_skewed_values_inverts_halls_transformation():
    """At each bound, H of the studentised mean is the limit of t (formula in `interval`)."""
    values = np.array([1.0, 2.0, 2.0, 3.0, 9.0, 4.0])
    found = estimate(values)
    a = ((values - values.mean()) ** 3).mean() / values.var() ** 1.5 / np.sqrt(6)
    assert found.low is not None
    assert found.high is not None
    for bound, sign in ((found.low, 1), (found.high, -1)):
        t = (values.mean() - bound) / np.sqrt(values.var() / 5)
        assert ((1 + a * t / 3) ** 3 - 1) / a + a / 6 == pytest.approx(sign * t_limit(0.05 * 36 / 44, 5))
    assert found.high - values.mean() > values.mean() - found.low, "the long tail is above"


@pytest.mark.parametrize("prompts", [5, 8, 16])
@pytest.mark.parametrize(
    ("kind", "least"), [("normal", 0.93), ("exponential", 0.92), ("uniform", 0.93), ("lognormal (sigma 1)", 0.87)]
)
def test_intervals_cover_what_they_claim(kind: str, least: float, prompts: int):
    """Of 3,000 samples; a share of .95 has a standard error of .004. All shares: docs/metrics.md."""
    draw, truth = coverage.KINDS[kind]
    values_SP = draw(np.random.default_rng(1), (3000, prompts))
    assert least <= coverage.share_within(coverage.intervals(values_SP), truth) <= 0.985


def test_an_estimate_counts_the_prompts_that_have_a_value():
    two = estimate(np.array([1.0, np.nan, 3.0]))
    assert (two.mean, two.prompts) == (2.0, 2)
    assert two == estimate(np.array([1.0, 3.0]))
    assert estimate(np.array([4.0])).to_json() == {"mean": 4.0, "low": None, "high": None, "prompts": 1}
    assert estimate(np.array([np.nan])) == Estimate(None, None, None, 0)
    assert mean_known(np.array([1.0, np.nan, 3.0])) == 2.0
    assert np.isnan(mean_known(np.array([])))


def test_equal_values_have_a_point_as_their_interval():
    assert estimate(np.full(7, 0.1)) == Estimate(pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1), 7)


def test_seeds_count_as_often_as_they_have_a_value():
    """1 and 3 at one prompt, 5 at the other: 9 / 3, not (2 + 5) / 2. The prompts deviate by (4 - 2 * 3) / 1.5 and
    (5 - 3) / 1.5, so the standard error is sqrt((16 / 9) / 1) and t of one degree 12.7062."""
    found = pooled_estimate(np.array([4.0, 5.0]), np.array([2.0, 1.0]))
    assert (found.mean, found.prompts) == (3.0, 2)
    assert (found.low, found.high) == pytest.approx((3 - 12.7062 * 4 / 3, 3 + 12.7062 * 4 / 3), abs=1e-3)
    assert pooled_estimate(np.array([0.0, 6.0]), np.array([0.0, 2.0])) == Estimate(3.0, None, None, 1)


def test_sign_flips_are_those_of_an_exact_test():
    differences = np.array([[0.8, 1.2, -0.1, 0.4, 2.0, 0.3, 0.9, -0.2], [1, 2, 3, -4, 5, -6, 7, 8.0]])
    # scipy.stats.permutation_test((row,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue, 1.17.1
    assert sign_flip_p(differences).tolist() == [0.0390625, 0.3125]


def test_fewer_than_six_prompts_reach_no_significance():
    for prompts in range(1, MIN_PROMPTS):
        assert sign_flip_p(np.ones((1, prompts)))[0] == 2.0 ** (1 - prompts) > 0.05
    assert sign_flip_p(np.ones((1, MIN_PROMPTS)))[0] == 2 / 64


def test_prompts_without_a_difference_change_no_p():
    seven = np.array([[1.0, 1, 1, 1, 1, 1, np.nan], [1.0, 1, 1, 1, 1, 1, 1e-17]])
    assert sign_flip_p(seven).tolist() == [2 / 64, 2 / 64]
    assert sign_flip_p(np.zeros((1, 4))).tolist() == [1.0]
    assert sign_flip_p(np.empty((0, 4))).size == 0


def test_many_prompts_are_flipped_at_random_and_the_same_for_everybody():
    many = np.random.default_rng(0).normal(0.3, 1, (2, 40))
    p = sign_flip_p(many)
    assert (p == sign_flip_p(many)).all()
    # t tests, which agree for many prompts: scipy.stats.ttest_1samp(many, 0, axis=1).pvalue, 1.17.1
    assert p == pytest.approx([0.0648, 0.0013], abs=0.01)
    assert sign_flip_p(np.ones((1, 40)))[0] == 1 / MIN_FLIPS, "the observed signs are one of them"
    assert set(sign_flip_p(np.ones((50, 40)))) == {1 / (50 * FLIPS_PER_COMPARISON)}
    assert set(sign_flip_p(np.ones((240, 40)))) == {1 / BLOCK}


def test_many_comparisons_get_so_many_flips_that_holms_correction_can_go_below_the_level():
    """46 cells have 1,035 pairs: 1,035 / 82,800 = .0125. Each block of flips is drawn anew."""
    assert set(sign_flip_p(np.ones((1035, 40)))) == {1 / (80 * 1035)}
    assert holm(sign_flip_p(np.ones((1035, 18)))).max() < 0.04, "of 2^17 flips, some are drawn twice"
    for comparisons in (1, 500, 1000, 4999):
        assert smallest_p(18, comparisons) < 0.05
    assert smallest_p(18, 10_000) == 10_000 / MAX_FLIPS
    values = np.random.default_rng(0).normal(0.25, 1, (1035, 18))
    assert sign_flip_p(values)[:100] == pytest.approx(sign_flip_p(values[:100]), abs=0.02)
    first, second = (_signs(18, start) for start in (0, BLOCK))
    assert (first[0] == 1).all()
    assert abs((first * second).mean()) < 0.005


def test_the_smallest_p_is_that_of_prompts_that_all_agree():
    """2 / 2^P, times the comparisons: 3 * .031 = .094 with 6 prompts."""
    assert smallest_p(6, 1) == sign_flip_p(np.ones((1, 6)))[0] == 2 / 64
    assert smallest_p(6, 3) == holm(sign_flip_p(np.ones((3, 6))))[0] == 6 / 64
    assert smallest_p(17, 3) == holm(sign_flip_p(np.ones((3, 17))))[0] == 6 / 2**17
    assert smallest_p(2, 9) == 1.0
    assert smallest_p(6, 0) == 0.0


def test_holm_by_hand():
    # sorted .005 * 4 = .02, .01 * 3 = .03, .03 * 2 = .06, .04 * 1 -> not below the one before: .06
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.4, 0.9])).tolist() == [0.8, 0.9]
    assert holm(np.empty(0)).size == 0


def test_drawn_means_have_the_spread_of_t_and_what_cells_share():
    shared = np.array([0.0, 5.0, 9.0, 2.0, 4.0, 7.0])
    means_BC = drawn_means(np.stack([shared, shared + 0.1]), np.ones((2, 6)))
    assert means_BC[:, 1] - means_BC[:, 0] == pytest.approx(0.1)
    half = t_limit(0.05, 5) * shared.std(ddof=1) / np.sqrt(6)
    assert np.percentile(means_BC[:, 0], [2.5, 97.5]) == pytest.approx([4.5 - half, 4.5 + half], abs=0.5)
    ranks_BC = mean_ranks(means_BC, True)
    assert rank_interval(1.0, ranks_BC[:, 1], 6, 2) == (1.0, 1.0), "the second is ahead in every draw"
    assert rank_interval(1.0, ranks_BC[:, 1], 1, 2) is None
    assert rank_interval(2.5, ranks_BC[:, 1], 6, 3) == (1.0, 3.0), "as far to the other side, up to the last rank"
    one_and_none = drawn_means(np.array([[3.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 0.0]]))
    assert (one_and_none[:, 0] == 3.0).all()
    assert np.isnan(one_and_none[:, 1]).all()


def test_mean_ranks_share_ties_and_skip_nan():
    values = np.array([[3.0, 1.0, 3.0, np.nan, 2.0]])
    # higher is better: the two 3s hold places 1 and 2 = 1.5 each, then 2, then 1
    assert mean_ranks(values, True)[0].tolist()[:3] == [1.5, 4.0, 1.5]
    assert mean_ranks(values, False)[0].tolist()[:3] == [3.5, 1.0, 3.5]
    assert np.isnan(mean_ranks(values, True)[0, 3])
    assert mean_ranks(np.array([[0.1 + 0.2, 0.3, 0.0, -0.0]]), True)[0].tolist() == [1.5, 1.5, 3.5, 3.5]
