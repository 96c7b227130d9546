"""The plain rules that influence is compared with."""

import numpy as np

from corollary.explain import heuristics

TRAIN = np.array([[0, 0, 1], [0, 1, 1], [2, 0, 1], [1, 0, 0], [3, 1, 4], [0, 0, 4]])


def test_places_that_are_shared():
    """Head, relation and tail, each at its own place: (1, 0, 0) shares the relation alone with (0, 0, 1)."""
    found = heuristics.shared(TRAIN, np.array([[0, 0, 1], [3, 1, 4]]))
    assert found.T.tolist() == [[3, 2, 2, 1, 0, 2], [0, 1, 0, 0, 3, 1]]


def test_those_that_share_most():
    """Which of equal ones is drawn; the same generator draws the same."""
    draws = [
        heuristics.most_shared(TRAIN, TRAIN[0], 3, np.random.default_rng(seed)).tolist() for seed in range(20)
    ]
    assert all(rows[0] == 0 and set(rows[1:]) <= {1, 2, 5} for rows in draws)
    assert {rows[1] for rows in draws} == {1, 2, 5}
    assert draws[0] == heuristics.most_shared(TRAIN, TRAIN[0], 3, np.random.default_rng(0)).tolist()


def test_neighbours_share_an_entity_on_either_side():
    """Whatever their relation."""
    assert heuristics.neighbours(TRAIN, np.array([9, 9, 4])).tolist() == [4, 5]
    assert heuristics.neighbours(TRAIN, np.array([1, 0, 9])).tolist() == [0, 1, 2, 3]
