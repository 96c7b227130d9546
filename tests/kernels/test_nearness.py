"""Counting who is nearer, against a list of all distances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.errors import CorollaryError
from corollary.evaluation.reconstruction import (
    Space,
    ancestor_lists,
    average_precisions,
    filtered_ranks,
    reconstruct,
    sample_rows,
)
from corollary.evaluation.taxonomy_metrics import Euclidean, Hyperbolic
from corollary.kernels.nearness import count_nearer
from tests.graph.test_taxonomy import acyclic, built
from tests.reference import hyperbolic as reference


def space(points: np.ndarray, hyperbolic: bool) -> Space:
    return Space.hyperbolic(points) if hyperbolic else Space.euclidean(points)


@pytest.mark.parametrize("hyperbolic", [True, False])
@pytest.mark.parametrize("nodes", [5, 700, 1100])
def test_counts_are_those_of_sorted_distances(hyperbolic, nodes):
    """Whatever the number of strips, with queries and targets at random."""
    rng = np.random.default_rng(nodes)
    points = rng.standard_normal((nodes, 3)) * 2
    metric = Hyperbolic(points) if hyperbolic else Euclidean(points)
    queries = rng.choice(nodes, min(nodes, 20), replace=False)
    lists = [
        np.sort(rng.choice(np.delete(np.arange(nodes), q), rng.integers(1, 4), replace=False))
        for q in queries
    ]
    offsets, targets = np.cumsum([0, *map(len, lists)]), np.concatenate(lists)
    nearer, tied = np.zeros(len(targets), np.int64), np.zeros(len(targets), np.int64)
    where = space(points, hyperbolic)
    broken = count_nearer(
        where.columns, where.grown, where.shrunk, queries, offsets, targets, offsets, targets, nearer, tied
    )
    assert not broken.any()
    distances = metric.to_all(queries)
    np.testing.assert_allclose(
        distances[:, 0], metric.between(queries, np.zeros(len(queries), int)), rtol=1e-9, atol=1e-7
    )
    for at, query in enumerate(queries):
        part = slice(offsets[at], offsets[at + 1])
        assert (nearer[part].tolist(), tied[part].tolist()) == reference.ranks(
            distances[at], query, lists[at], lists[at]
        )


def test_points_that_coincide_are_ties():
    """Ten nodes at one place: each counts half."""
    points = np.ones((12, 2))
    points[0] = [3.0, 0.0]
    ranks = filtered_ranks(
        Space.hyperbolic(points),
        np.array([0]),
        np.array([0, 1]),
        np.array([4]),
        np.array([0, 1]),
        np.array([4]),
    )
    assert ranks.tolist() == [1 + 10 / 2]


@settings(deadline=None, max_examples=50)
@given(acyclic(), st.integers(0, 100))
def test_reconstruction_is_the_papers(links, seed):
    """Rank among non-ancestors, and average precision by walking the sorted list, over whole small taxonomies."""
    taxonomy = built(links)
    points = np.random.default_rng(seed).standard_normal((len(taxonomy), 3))
    rows = sample_rows(taxonomy, None)
    found = reconstruct(Space.hyperbolic(points), taxonomy, rows)
    ranks, precisions = [], []
    for row in rows.tolist():
        targets, distances = taxonomy.ancestors(row), Hyperbolic(points).to_all(np.array([row]))[0]
        ranks += [1 + nearer for nearer in reference.ranks(distances, row, targets, targets)[0]]
        precisions.append(reference.average_precision(distances, row, targets))
    assert found.mean_rank == pytest.approx(np.mean(ranks), rel=1e-12)
    assert found.map == pytest.approx(np.mean(precisions), rel=1e-12)
    assert found.num_pairs == taxonomy.num_pairs


def test_a_perfect_embedding_scores_one_where_gensim_says_two():
    """The node itself is no candidate: a chain on a ray has mean rank 1 and MAP 1."""
    taxonomy = built([(1, 0), (2, 0), (3, 1), (4, 2)])
    order = {0: [0, 0], 1: [4, 0], 2: [-4, 0], 3: [8, 0], 4: [-8, 0]}
    points = np.array([order[int(entity)] for entity in taxonomy.entity_ids], float)
    found = reconstruct(Space.hyperbolic(points), taxonomy, sample_rows(taxonomy, None))
    assert (found.mean_rank, found.map) == (1.0, 1.0)


def test_average_precision_takes_ranks_among_non_ancestors():
    """Three ancestors at places 1, 2 and 5 of the list: (1 + 1 + 3 / 5) / 3."""
    assert average_precisions(np.array([1.0, 3.0, 1.0]), np.array([0, 3]))[0] == pytest.approx(
        (2 + 3 / 5) / 3
    )


def test_a_point_that_is_no_number_is_named():
    """Never a rank."""
    points = np.ones((4, 2))
    points[2] = np.nan
    rows, offsets = np.array([0]), np.array([0, 1])
    with pytest.raises(CorollaryError, match="row 0 has a distance that is not a number"):
        filtered_ranks(Space.hyperbolic(points), rows, offsets, np.array([2]), offsets, np.array([2]))


def test_a_sample_is_fixed():
    """The same nodes each time, and only such that have an ancestor."""
    taxonomy = built([(node, (node - 1) // 2) for node in range(1, 60)])
    first = sample_rows(taxonomy, 10)
    assert first.tolist() == sample_rows(taxonomy, 10).tolist()
    assert 0 not in first
    offsets, lists = ancestor_lists(taxonomy, first)
    assert np.diff(offsets).min() >= 1
    assert len(lists) == offsets[-1]
