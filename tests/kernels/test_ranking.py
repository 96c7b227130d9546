"""The counting kernels equal comparisons one by one."""

import numpy as np
import pytest

from corollary.kernels import ranking as kernels
from tests.reference import ranking as plain


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_thresholds", [1, 3, kernels.FEW, kernels.FEW + 1])
def test_counts_equal_comparisons(dtype, num_thresholds):
    """Few thresholds (compared one by one) and many (searched) give the same counts, ties and filter included."""
    rng = np.random.default_rng(0)
    rows, start = 500, 40
    tile = np.round(rng.standard_normal((3, rows)), 1).astype(dtype)
    counts = [num_thresholds, 0, 2]
    offsets = np.cumsum([0, *counts])
    thresholds = np.concatenate([np.sort(rng.choice(tile[q], n)) for q, n in enumerate(counts)])
    known = [np.sort(rng.choice(rows + 100, n, replace=False)) for n in (200, 0, 7)]
    bounds = np.cumsum([0, *map(len, known)])
    types = rng.integers(-1, 3, rows + start).astype(np.int32)
    allowed = np.array([[1, 0, 0, 1], [1, 1, 1, 1], [0, 1, 0, 1]], bool)
    no_types = np.zeros(0, np.int32), np.zeros((3, 0), bool)

    for limits in (no_types, (types, allowed)):
        above, at_least = np.ones(len(thresholds), np.int64), np.zeros(len(thresholds), np.int64)
        broken = kernels.count(
            tile, start, offsets, thresholds, bounds[:-1], bounds[1:], np.concatenate(known).astype(np.int32),
            *limits, above, at_least,
        )  # fmt: skip
        assert not broken.any()
        for query in range(3):
            entities = start + np.arange(rows)
            kept = ~np.isin(entities, known[query])
            if len(limits[0]):
                kept &= allowed[query, types[entities]]
            for place in range(offsets[query], offsets[query + 1]):
                assert above[place] == 1 + (tile[query, kept] > thresholds[place]).sum()
                assert at_least[place] == (tile[query, kept] >= thresholds[place]).sum()


def test_a_long_row_is_counted_exactly():
    """A block of more rows than float32 counts in one strip."""
    tile = np.zeros((1, 20_000), np.float32)
    above, at_least, none = np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64)
    empty = np.zeros(0, np.int32)
    kernels.count(
        tile, 0, np.array([0, 1]), np.zeros(1, np.float32), none, none, empty, empty, np.zeros((1, 0), bool),
        above, at_least,
    )  # fmt: skip
    assert (above[0], at_least[0]) == (0, 20_000)


def test_weights_are_poisson_and_belong_to_the_triple():
    """Draws follow SplitMix64 number by number; a triple has the same weight wherever it stands."""
    streams = np.array([0, 1, 2**64 - 1, 12345], np.uint64)
    triples = np.concatenate([np.arange(2000), np.arange(2000)[::-1]])
    values = np.zeros((4000, 4000))
    np.fill_diagonal(values, 1.0)
    weights = np.zeros((4, 4000))
    kernels.resample(streams, triples, values, weights)

    assert (weights[:, :2000] == weights[:, :1999:-1]).all()
    expected = [[plain.poisson(plain.split_mix(s, t)) for t in range(2000)] for s in streams.tolist()]
    assert (weights[:, :2000] == expected).all()
    assert abs(weights[:, :2000].mean() - 1) < 0.04  # 8,000 draws: three and a half standard errors
    assert abs(weights[:, :2000].var() - 1) < 0.06
    assert abs(np.corrcoef(weights[:, :2000]) - np.eye(4)).max() < 0.08


def test_the_poisson_table_is_the_distribution_function():
    """Entry k is the probability of at most k."""
    shares = kernels._POISSON / 2.0**64
    terms = np.exp(-1) / np.cumprod([1, *range(1, len(shares))], dtype=float)
    np.testing.assert_allclose(shares, np.cumsum(terms), rtol=0, atol=1e-15)
