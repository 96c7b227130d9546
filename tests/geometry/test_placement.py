"""Where the nodes begin."""

import numpy as np
import pytest
from hypothesis import given, settings

from corollary.evaluation.reconstruction import Space, reconstruct, sample_rows
from corollary.geometry.placement import PlacementConfig, depth_radii, place
from corollary.graph.taxonomy import Taxonomy
from tests.graph.test_taxonomy import acyclic, built
from tests.reference import caps as reference

LINKS = [(node, (node - 1) // 3) for node in range(1, 300)]


def tree(links=LINKS) -> Taxonomy:
    child, parent = np.array(links).T
    return Taxonomy.build(child, parent)


@settings(deadline=None, max_examples=60)
@given(acyclic())
def test_radii_are_those_of_the_caps(links):
    """With one parent or several, one root or several."""
    taxonomy = built(links)
    placed = place(taxonomy, 4, PlacementConfig(spread=0.1), seed=3)
    parent, size = taxonomy.tree.parent.tolist(), taxonomy.tree.size.tolist()
    expected = [reference.radius(angle) for angle in reference.cap_angles(parent, size, 4, 0.1)]
    np.testing.assert_allclose(np.linalg.norm(placed.points, axis=1), expected, rtol=1e-12, atol=1e-12)
    assert placed.cut_radii == 0


def test_a_cap_lies_within_its_parents():
    """A child's direction is off its parent's by at most the difference of the two angles."""
    taxonomy = tree()
    points = place(taxonomy, 5, PlacementConfig(spread=0.05), seed=0).points
    parent, size = taxonomy.tree.parent.tolist(), taxonomy.tree.size.tolist()
    angles = reference.cap_angles(parent, size, 5, 0.05)
    directions = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-300)
    for row, up in enumerate(parent):
        if up > 0:
            off = np.arccos(np.clip(directions[row] @ directions[up], -1, 1))
            assert off <= angles[up] - angles[row] + 1e-7


def test_small_caps_put_every_ancestor_first():
    """Untrained, the tree is given back without a fault."""
    taxonomy = tree()
    points = place(taxonomy, 5, PlacementConfig(spread=0.001), seed=0).points
    found = reconstruct(Space.hyperbolic(points), taxonomy, sample_rows(taxonomy, None))
    assert (found.map, found.mean_rank) == (1.0, 1.0)


def test_several_roots_do_not_fall_together():
    """Each has a place of its own, and its tree is given back."""
    taxonomy = tree(
        [(node + 300 * part, (node - 1) // 3 + 300 * part) for part in range(3) for node in range(1, 90)]
    )
    points = place(taxonomy, 5, PlacementConfig(spread=0.001), seed=0).points
    roots = np.flatnonzero(taxonomy.tree.parent < 0)
    assert len({tuple(point) for point in points[roots]}) == 3
    assert reconstruct(Space.hyperbolic(points), taxonomy, sample_rows(taxonomy, None)).map > 0.99


def test_branches_that_share_nodes_draw_each_other():
    """A second parent in another branch: with attraction it lies nearer to its child than without."""
    links = [*LINKS, *[(node, 5) for node in range(200, 260)]]
    taxonomy = tree(links)
    pairs = taxonomy.pairs(taxonomy.off_chain)
    away = {}
    for attraction in (True, False):
        config = PlacementConfig(spread=0.01, attraction=attraction)
        points = place(taxonomy, 6, config, seed=0).points
        directions = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-300)
        away[attraction] = np.square(directions[pairs[:, 0]] - directions[pairs[:, 1]]).sum(1).mean()
    assert away[True] < away[False]


def test_cut_radii_are_counted():
    """None goes farther out than the largest radius."""
    placed = place(tree(), 3, PlacementConfig(largest_radius=4.0), seed=0)
    radii = np.linalg.norm(placed.points, axis=1)
    assert radii.max() == pytest.approx(4.0, rel=1e-12)
    assert placed.cut_radii == (radii > 4 - 1e-9).sum() > 0


def test_depth_and_random_starts():
    """depth: radii rise evenly from the inner to the outer; random: close to the centre; seeds repeat."""
    taxonomy = tree()
    config = PlacementConfig(name="depth", inner_radius=0.5, outer_radius=3.0)
    points = place(taxonomy, 4, config, seed=1).points
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), depth_radii(taxonomy, config), rtol=1e-12)
    assert depth_radii(taxonomy, config)[[0]] == 0.5
    assert depth_radii(taxonomy, config).max() == 3.0
    for name in ("caps", "depth", "random"):
        config = PlacementConfig(name=name)
        first, again, other = (place(taxonomy, 4, config, seed=seed).points for seed in (1, 1, 2))
        assert first.tobytes() == again.tobytes()
        assert first.tobytes() != other.tobytes()
    assert np.abs(first).max() < 0.01
