"""Rewiring against a plain version, and its promises."""

import numpy as np
import pytest

from corollary.kernels.rewiring import TRADES, rewired
from corollary.kernels.splitmix import word
from tests.reference import rewiring as reference

KEY = np.uint64(12345)
NONE = np.zeros((0, 2), np.int64)


def relation(seed: int, rows: int = 30, columns: int = 40, count: int = 200) -> np.ndarray:
    """Distinct pairs, some rows and columns in many of them."""
    draw = np.random.default_rng(seed)
    odds = np.outer(1 / np.arange(1, rows + 1), 1 / np.arange(1, columns + 1)).ravel()
    codes = draw.choice(rows * columns, count, replace=False, p=odds / odds.sum())
    return np.stack(np.divmod(codes, columns), axis=1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_trades_are_those_of_the_plain_version(seed):
    """Exactly, with pairs that are barred."""
    edges = relation(seed)
    taken = {tuple(edge) for edge in edges.tolist()}
    barred = np.array([pair for pair in relation(9).tolist() if tuple(pair) not in taken])
    draws = [(int(word(KEY, 2 * n)), int(word(KEY, 2 * n + 1))) for n in range(600)]
    fast, done = rewired(edges, barred, 30, 40, 600, KEY)
    slow, slow_done = reference.rewired(edges.tolist(), barred.tolist(), draws)
    assert fast.tolist() == [list(edge) for edge in slow]
    assert done == slow_done > 50


def test_degrees_stay_and_edges_stay_distinct():
    edges, barred = relation(0), np.argwhere(np.eye(30, 40))
    barred = np.array([pair for pair in barred.tolist() if pair not in edges.tolist()])
    found, _ = rewired(edges, barred, 30, 40, TRADES * len(edges), KEY)
    for axis, size in enumerate((30, 40)):
        before, after = (np.bincount(pairs[:, axis], minlength=size) for pairs in (edges, found))
        assert np.array_equal(before, after)
    assert len({tuple(edge) for edge in found.tolist()}) == len(edges)
    assert not {tuple(edge) for edge in found.tolist()} & {tuple(pair) for pair in barred.tolist()}


def test_ten_trades_an_edge_leave_little_of_a_sparse_relation():
    """Of 300 edges among 200 x 200 pairs with like degrees hardly any stands where it stood."""
    edges = np.unique(np.random.default_rng(0).integers(0, 200, (300, 2)), axis=0)
    found, _ = rewired(edges, NONE, 200, 200, TRADES * len(edges), KEY)
    assert (found[:, 1] == edges[:, 1]).mean() < 0.05


def test_the_key_decides():
    edges = relation(0)
    first, again, other = (rewired(edges, NONE, 30, 40, 500, np.uint64(key))[0].tolist() for key in (1, 1, 2))
    assert first == again != other


def test_nothing_can_be_traded_among_none_or_one():
    for edges in (NONE, np.array([[2, 3]])):
        found, done = rewired(edges, NONE, 30, 40, 100, KEY)
        assert (found.tolist(), done) == (edges.tolist(), 0)
