"""Drawing groups out of train against counting everything again each time."""

from itertools import groupby

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.kernels.drawing import draw_groups
from tests.reference import drawing as reference

TRIPLES = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 2), st.integers(0, 6)), min_size=1, max_size=40
)
QUOTAS = st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=3), min_size=1, max_size=2)


@settings(deadline=None)
@given(TRIPLES, QUOTAS, st.randoms(use_true_random=False))
def test_the_same_groups_leave_train(triples, quotas, random):
    """Every group goes where the plain version sends it, loops, duplicates and rare relations included."""
    pair = lambda row: (min(row[0], row[2]), max(row[0], row[2]))  # noqa: E731
    rows = sorted(triples, key=lambda row: (pair(row), row[1]))
    groups = [list(members) for _, members in groupby(rows, key=pair)]
    order = random.sample(range(len(groups)), len(groups))
    head, relation, tail = np.array(rows).T
    actual = draw_groups(
        np.array(order),
        np.cumsum([0, *map(len, groups)]),
        np.ascontiguousarray(relation),
        np.array([pair(group[0]) for group in groups]),
        np.array(quotas),
        np.bincount(head, minlength=7) + np.bincount(tail[tail != head], minlength=7),
        np.bincount(relation, minlength=3),
    )
    assert actual.tolist() == reference.draw_groups(
        order, groups, [dict(enumerate(quota)) for quota in quotas]
    )
