"""Figures of an embedded taxonomy, against what they say in plain words."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.evaluation import taxonomy_analysis as analysis
from corollary.evaluation.taxonomy_metrics import Euclidean, Hyperbolic, TreeMetric
from corollary.evaluation.withholding import groups_of_rank
from corollary.graph.taxonomy import Taxonomy
from tests.graph.test_taxonomy import acyclic, built
from tests.reference import taxonomy as reference


def tree(levels: int = 4) -> Taxonomy:
    """Three children each."""
    count = (3 ** (levels + 1) - 1) // 2
    child = np.arange(1, count)
    return Taxonomy.build(child, (child - 1) // 3)


@settings(deadline=None, max_examples=60)
@given(acyclic(most_parents=1))
def test_the_tree_metric_counts_links(links):
    """To all nodes and between pairs; radii are depths."""
    taxonomy = built(links)
    if len(np.flatnonzero(taxonomy.tree.parent < 0)) > 1:
        return
    parent, rows = taxonomy.tree.parent.tolist(), np.arange(len(taxonomy))
    expected = [[reference.tree_distance(parent, a, b) for b in rows.tolist()] for a in rows.tolist()]
    metric = TreeMetric(taxonomy)
    assert metric.to_all(rows).tolist() == expected
    assert metric.between(rows, rows[::-1].copy()).tolist() == [
        row[-1 - at] for at, row in enumerate(expected)
    ]
    assert metric.radii().tolist() == taxonomy.tree.depth.tolist()


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=9), st.lists(st.integers(0, 6), min_size=1, max_size=30)
)
def test_the_threshold_is_the_best_of_all_cuts(positive, negative):
    """Halfway between two scores, never between equal ones; the F1 that is said is the one it has."""
    good, bad = np.array(positive, float), np.array(negative, float)

    def f1(cut: float) -> float:
        hits = (good <= cut).sum()
        return 2 * hits / (hits + (bad <= cut).sum() + len(good))

    threshold, found = analysis.best_threshold(good, bad)
    assert found == pytest.approx(max(f1(cut) for cut in np.arange(-0.5, 8)))
    assert f1(threshold) == pytest.approx(found)
    assert threshold % 0.5 == 0


def test_scores_that_differ_by_rounding_are_equal():
    """Nodes at the centre score zero but for the last bits: no threshold lies between them."""
    good, bad = np.array([1e-15, 2.0]), np.array([-1e-15, 0.0, 3.0])
    threshold, found = analysis.best_threshold(good, bad)
    assert threshold == 2.5
    assert found == pytest.approx(2 * 2 / (4 + 2))


def test_separation_of_groups_that_lie_apart():
    """Two clusters ten units from each other, one in size: ratio ten, every between-pair farther; of one cluster none."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((60, 3)) * 0.1
    points[30:, 0] += 10
    groups = np.repeat([4, 9], 30)
    found = analysis.separation(Euclidean(points), groups)
    assert found is not None
    assert found["groups"] == 2
    for name in ("", "_uniform"):
        assert found[f"ratio{name}"] > 30
        assert found[f"p_distance{name}"] == 1.0
    rng.shuffle(points)
    mixed = analysis.separation(Euclidean(points), groups)
    assert mixed is not None
    assert mixed["ratio_uniform"] == pytest.approx(1.0, abs=0.1)
    assert analysis.separation(Euclidean(points), np.repeat(4, 60)) is None
    assert analysis.separation(Euclidean(points), np.where(np.arange(60) < 5, 9, 4)) is None


def test_neighbours_vote():
    """Of a node in a cluster of its group, its group; a node without a group is not asked, and not counted as a vote."""
    points = np.concatenate([np.zeros((12, 2)), np.full((12, 2), 8.0), np.full((12, 2), 8.0)])
    points += np.random.default_rng(0).standard_normal(points.shape) * 0.01
    groups = np.repeat([1, 2, -1], 12)
    every = np.arange(36)
    assert analysis.neighbour_accuracy(Euclidean(points), groups, every) == 1.0
    groups[0] = 2
    assert analysis.neighbour_accuracy(Euclidean(points), groups, np.array([0])) == 0.0


def test_the_tree_agrees_with_itself():
    """No distortion, correlation one; random points have neither."""
    taxonomy = tree()
    same = analysis.against_tree(TreeMetric(taxonomy), taxonomy)
    assert (same["spearman_tree"], same["mean_distortion"]) == (pytest.approx(1.0), 0.0)
    points = np.random.default_rng(0).standard_normal((len(taxonomy), 5))
    other = analysis.against_tree(Hyperbolic(points), taxonomy)
    assert abs(other["spearman_tree"]) < 0.2
    assert other["mean_distortion"] > 0.1


def test_depth_is_compared_with_radius_and_with_norm_in_the_ball():
    """Radii that are depths correlate perfectly; in the ball the same radii hardly differ far out."""
    taxonomy = tree()
    radii = 10.0 * taxonomy.tree.depth
    points = np.zeros((len(taxonomy), 2))
    points[:, 0] = radii
    found = analysis.depth_radius(Hyperbolic(points), taxonomy)
    assert found["depth_radius"] == pytest.approx(1.0)
    assert found["depth_norm"] < 0.6


def test_groups_of_a_rank_are_the_nodes_below_it():
    """The nearest of that rank at or above; none above it."""
    taxonomy = tree(3)
    types = np.minimum(2, [0] + [1] * 3 + [2] * 36)
    groups = groups_of_rank(taxonomy, types, 1)
    for row in range(len(taxonomy)):
        entity = int(taxonomy.entity_ids[row])
        while entity > 3:
            entity = (entity - 1) // 3
        assert groups[row] == (taxonomy.rows[entity] if entity else -1)
