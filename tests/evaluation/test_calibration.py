"""Isotonic regression against a plain search, and shares of right answers by rank."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.evaluation.calibration import RankCalibration, isotonic


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(0.1, 5)), min_size=1, max_size=25))
@settings(max_examples=60, deadline=None)
def test_isotonic_is_the_min_max_formula(pairs: list[tuple[float, float]]) -> None:
    """Against max over starts of min over ends of weighted means, the closed form; float64 sums in another order."""
    values, weights = (np.array(column) for column in zip(*pairs, strict=True))
    n = len(values)
    means = np.array(
        [
            [
                np.average(values[i : j + 1], weights=weights[i : j + 1]) if j >= i else np.inf
                for j in range(n)
            ]
            for i in range(n)
        ]
    )
    slow = [max(min(means[i, j] for j in range(k, n)) for i in range(k + 1)) for k in range(n)]
    assert isotonic(values, weights) == pytest.approx(slow, abs=1e-9)
    assert isotonic(-values, weights, falling=True) == pytest.approx([-one for one in slow], abs=1e-9)


def test_shares_by_rank_are_counts() -> None:
    ranks = np.array([1.0, 1.0, 1.5, 3.0, 40.0, 500.0])
    found = RankCalibration.of(ranks, np.full(6, 1000))
    first, second, *_, last = found.bins
    assert (first.right, first.candidates) == (2, 6)
    assert (second.right, second.candidates) == (2, 12)  # a rank between two counts as the later
    assert (last.name, last.right, last.candidates) == ("31-100", 1, 420)
    assert found.share(1.0) == pytest.approx(2 / 6)
    assert (np.diff(found.shares) <= 1e-15).all()
    assert found.share(200.0) is None
    assert found.bin(200.0) is None


def test_fewer_candidates_than_ranks() -> None:
    """Ranks that no query has are no missed chances."""
    found = RankCalibration.of(np.array([1.0, 2.0]), np.array([2, 3]))
    assert found.bins[1].candidates == 3
    assert found.bins[2].candidates == 0
    assert found.expected(np.array([2, 3])) == pytest.approx(2)
