"""Known answers among candidates, told by a set."""

import numpy as np
import pytest

from corollary.kernels.known_answers import known_among


@pytest.mark.parametrize("candidates", [0, 3, 20, 60])
def test_known_answers_are_found(candidates):
    """Short lists in long ones and long ones in short ones."""
    rng = np.random.default_rng(0)
    lists = [np.sort(rng.permutation(60)[:size]) for size in (0, 1, 5, 30, 60)]
    bounds = np.concatenate([[0], np.cumsum([len(one) for one in lists])])
    chosen = np.sort(rng.permutation(60)[:candidates])
    found = known_among(bounds[:-1], bounds[1:], np.concatenate(lists), chosen)
    expected = [
        (query, place)
        for query, one in enumerate(lists)
        for place, c in enumerate(chosen)
        if c in set(one.tolist())
    ]
    assert sorted(map(tuple, found.T.tolist())) == expected
