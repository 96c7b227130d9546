"""Rank correlations, curves, precisions and intervals against slow, obvious versions and published tables."""

import numpy as np
import pytest

from corollary.explain import datamodelling as stats
from tests.reference import datamodelling as slow


def some(rows, n, *, seed=0, levels=6):
    """Values with ties."""
    return np.random.default_rng(seed).integers(levels, size=(rows, n)).astype(float)


def test_spearman_is_the_correlation_of_mean_ranks():
    """Ties share their places; a row that does not vary foretells nothing."""
    one, other = some(5, 12), some(5, 12, seed=1)
    found = stats.spearman(one, other)
    expected = [slow.spearman(a, b) for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(stats.ranks(one)[0], slow.ranks(one[0]))
    assert stats.spearman(np.ones((1, 4)), some(1, 4))[0] == 0


def test_area_under_curve_is_a_share_of_pairs():
    """A tie counts half."""
    scores, wrong = some(1, 40)[0], np.random.default_rng(2).random(40) < 0.3
    assert stats.area_under_curve(scores, wrong) == pytest.approx(
        slow.area_under_curve(scores, wrong), abs=1e-15
    )
    assert stats.area_under_curve(wrong.astype(float), wrong) == 1


def test_recall_among_the_first_inspected():
    """The highest scores are looked at first."""
    scores = np.array([5.0, 4, 3, 2, 1, 0, -1, -2, -3, -4])
    wrong = np.isin(np.arange(10), [0, 3, 9])
    assert stats.recall_inspected(scores, wrong, (0.1, 0.4, 1.0)) == pytest.approx([1 / 3, 2 / 3, 1])


@pytest.mark.parametrize("places", [[1.0], [3.0, 1.0, 7.0], [2.0, 4.0, 5.0, 9.0]])
def test_average_precision_is_precision_at_every_true_one(places):
    """And the reciprocal rank is that of the first."""
    assert stats.average_precision(np.array(places)) == pytest.approx(
        slow.average_precision(places), abs=1e-15
    )
    assert stats.reciprocal_rank(np.array(places)) == 1 / min(places)


@pytest.mark.parametrize(("num_true", "num_all"), [(1, 1), (1, 7), (3, 9), (9, 9)])
def test_what_chance_gives_is_the_mean_over_all_orders(num_true, num_all):
    """Both figures, by enumeration."""
    found = stats.expected_by_chance(num_true, num_all)
    assert found == pytest.approx(slow.expected_by_chance(num_true, num_all), abs=1e-12)


@pytest.mark.parametrize(
    ("degrees", "expected"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423)]
)
def test_quantiles_are_those_of_published_tables(degrees, expected):
    """Two-sided, 95 %; tables print four digits."""
    assert stats.student_quantile(degrees) == pytest.approx(expected, abs=5e-5)


def test_the_interval_of_a_mean():
    """By hand: 1, 2, 3 has standard error 1 / sqrt(3). One observation has no interval."""
    found = stats.mean_estimate([1.0, 2.0, 3.0])
    assert (found.value, found.high - found.value) == pytest.approx((2.0, 4.302653 / 3**0.5), abs=1e-5)
    assert str(found) == "2.000 [-0.484, 4.484]"
    assert stats.mean_estimate([1.0]) == stats.Estimate(1.0)


def test_a_score_that_foretells_everything_reaches_one():
    """And one that is noise an interval around zero."""
    rng = np.random.default_rng(3)
    outcomes = rng.normal(size=(30, 40))
    assert stats.agreement(np.exp(outcomes), outcomes).score.value == pytest.approx(1)
    noise = stats.agreement(rng.normal(size=(30, 40)), outcomes)
    assert noise.score.low < 0 < noise.score.high
    better = stats.agreement(outcomes + rng.normal(size=(30, 40)), outcomes)
    assert better.less(noise).low > 0
    assert better.less(better).value == 0


def test_leaving_subsets_out_is_done_one_by_one():
    """The jackknife's parts are the scores of what is left."""
    foretold, outcomes = some(4, 8, seed=5), some(4, 8, seed=6)
    found = stats.agreement(foretold, outcomes)
    left = np.delete(np.arange(8), 3)
    np.testing.assert_array_equal(found.without[3], stats.spearman(foretold[:, left], outcomes[:, left]))
    assert found.score.value == pytest.approx(found.by_target.mean())


def test_the_ceiling_is_what_a_perfect_score_reaches():
    """A score that is the noiseless outcome itself comes to the ceiling; a reliability of 0.31 doubled makes 0.69."""
    rng = np.random.default_rng(4)
    true = rng.normal(size=(200, 200))
    runs = true + 1.5 * rng.normal(size=(2, 200, 200))
    found = stats.ceiling(runs)
    reached = stats.agreement(true[:60], runs.mean(0)[:60]).score.value
    assert found.score == pytest.approx(reached, abs=0.02)  # sampling error of 12,000 pairs
    assert found.of_mean == pytest.approx(2 * found.reliability / (1 + found.reliability))
    published = 2 * 0.31 / 1.31
    assert published**0.5 == pytest.approx(0.69, abs=0.005)
    assert stats.ceiling(runs[:1]) is None
