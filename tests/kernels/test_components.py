"""Union-find against walking the graph."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.kernels.components import component_of
from tests.reference import components as reference

EDGES = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)


@settings(deadline=None)
@given(EDGES)
def test_components_equal_those_found_by_walking(edges):
    """Each entity gets the smallest id of its component, whatever the order of the edges."""
    rows = np.array(edges, dtype=np.int64).reshape(-1, 2)
    head, tail = np.ascontiguousarray(rows[:, 0]), np.ascontiguousarray(rows[:, 1])
    assert component_of(head, tail, 20).tolist() == reference.component_of(edges, 20)
    assert component_of(head[::-1].copy(), tail[::-1].copy(), 20).tolist() == reference.component_of(
        edges, 20
    )


def test_a_long_path_is_one_component():
    """A hundred thousand links in the worst order end in one root."""
    order = np.arange(100_000)[::-1].copy()
    assert component_of(order, order + 1, 100_001).max() == 0


def test_no_entities_have_no_components():
    """An empty graph gives an empty answer."""
    assert len(component_of(np.zeros(0, np.int64), np.zeros(0, np.int64), 0)) == 0
