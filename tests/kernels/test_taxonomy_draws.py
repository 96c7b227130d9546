"""Draws without rejection: no true relation comes out, every other node can, in the right proportion."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.graph.taxonomy import Taxonomy
from corollary.kernels.taxonomy import levels, negatives, tree
from tests.graph.test_taxonomy import acyclic, built
from tests.reference import taxonomy as reference


def drawn(taxonomy: Taxonomy, row: int, tier: int, count: int, key: int = 1) -> list[int]:
    """Entities that one tier gives for a row."""
    quotas = np.zeros(negatives.NUM_TIERS, np.int64)
    quotas[tier] = count
    weights = taxonomy.degree_weights(0.75)
    found = negatives.draw_all(taxonomy.tree, weights, quotas, np.array([row]), np.array([key], np.uint64))[0]
    return [int(taxonomy.entity_ids[at]) if at >= 0 else -1 for at in found]


@settings(deadline=None, max_examples=150)
@given(acyclic(), st.integers(0, negatives.NUM_TIERS - 1), st.integers(0, 2**60))
def test_no_negative_is_ever_an_ancestor_or_the_node_itself(links, tier, key):
    """Every row of small taxonomies, with one parent or several, in every tier."""
    taxonomy, above = built(links), reference.ancestors(links)
    for row in range(len(taxonomy)):
        permitted = reference.permitted(above, int(taxonomy.entity_ids[row]))
        found = drawn(taxonomy, row, tier, 40, key)
        assert set(found) <= permitted if permitted else set(found) == {-1}


def test_every_permitted_node_is_drawn_evenly():
    """Uniform draws over a whole small tree: 4 standard deviations of a count."""
    links = [(node, (node - 1) // 3) for node in range(1, 40)]
    taxonomy, above = built(links), reference.ancestors(links)
    for row in (0, 7, 39):
        permitted = reference.permitted(above, int(taxonomy.entity_ids[row]))
        if not permitted:
            continue
        counts, expected = Counter(drawn(taxonomy, row, negatives.UNIFORM, 20_000)), 20_000 / len(permitted)
        assert set(counts) == permitted
        assert max(abs(count - expected) for count in counts.values()) < 4 * expected**0.5


def test_draws_by_degree_keep_the_proportions_of_what_is_left():
    """(number of pairs) ** 0.75, without the ancestors: 5 standard deviations, as fixed keys never change."""
    links = [(node, (node - 1) // 3) for node in range(1, 40)]
    taxonomy, above = built(links), reference.ancestors(links)
    row = 30
    degree = {node: len(a) + sum(node in other for other in above.values()) for node, a in above.items()}
    permitted = reference.permitted(above, int(taxonomy.entity_ids[row]))
    weight = {node: max(1, round(1024 * degree[node] ** 0.75)) for node in permitted}
    counts = Counter(drawn(taxonomy, row, negatives.DEGREE, 40_000))
    for node in permitted:
        expected = 40_000 * weight[node] / sum(weight.values())
        assert abs(counts[node] - expected) < 5 * expected**0.5


def test_same_depth_sibling_and_cousin_are_what_their_names_say():
    """In a tree of four levels with three children each."""
    links = [(node, (node - 1) // 3) for node in range(1, 40)]
    taxonomy = built(links)
    row = int(taxonomy.rows[13])  # children of 4: 13, 14, 15; of 1: 4, 5, 6
    assert set(drawn(taxonomy, row, negatives.SIBLING, 200)) == {14, 15}
    assert set(drawn(taxonomy, row, negatives.COUSIN, 200)) == set(range(16, 22))
    assert set(drawn(taxonomy, row, negatives.SAME_DEPTH, 4000)) == set(range(13, 40)) - {13}
    near = Counter(drawn(taxonomy, row, negatives.STRUCTURAL, 4000))
    assert near[14] + near[15] > 1000


def level_draws(taxonomy: Taxonomy, pairs: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    out = np.full((len(pairs), count), -1)
    offsets, lists = taxonomy.descendants()
    keys = np.arange(len(pairs), dtype=np.uint64)
    return levels.draw_levels(taxonomy.tree, offsets, lists, pairs, keys, out), out


@settings(deadline=None, max_examples=150)
@given(acyclic())
def test_no_negative_of_the_descendants_depth_is_ever_below_or_above_the_ancestor(links):
    """Every pair of small taxonomies; where there is no such node, stand-ins of the ancestor are none of the ancestors."""
    taxonomy, above = built(links), reference.ancestors(links)
    ids = taxonomy.entity_ids
    depth = {int(ids[row]): int(taxonomy.tree.depth[row]) for row in range(len(taxonomy))}
    pairs = taxonomy.pairs(np.arange(taxonomy.num_pairs))
    kinds, found = level_draws(taxonomy, pairs, 30)
    for (row, ancestor), kind, drawn_rows in zip(pairs, kinds, found, strict=True):
        permitted, corrupted = reference.permitted_at_level(above, depth, int(ids[ancestor]), int(ids[row]))
        if not permitted:
            assert kind == 0
            continue
        assert kind == 1 + corrupted
        assert set(ids[drawn_rows].tolist()) <= permitted


def test_every_node_of_the_level_that_is_no_descendant_can_be_drawn():
    """All of them come out, so nothing is lost by stepping over the descendants."""
    links = [(node, (node - 1) // 3) for node in range(1, 40)]
    taxonomy = built(links)
    pair = np.array([[taxonomy.rows[13], taxonomy.rows[1]]], np.int64)
    _, found = level_draws(taxonomy, pair, 2000)
    assert set(taxonomy.entity_ids[found[0]].tolist()) == set(range(22, 40))


@pytest.mark.parametrize("count", [1, 2, 5, 16, 17, 1000, 4097])
def test_an_epoch_meets_every_pair_once(count):
    """Whatever the number of pairs, and in another order with another key."""
    orders = [tree.order_of(0, count, count, np.uint64(key)) for key in (3, 2**63 + 5)]
    assert all(sorted(order.tolist()) == list(range(count)) for order in orders)
    assert count < 16 or orders[0].tolist() != orders[1].tolist()


def test_any_part_of_an_epoch_can_be_had_alone():
    """So a resumed run goes on at (epoch, place) without what came before."""
    whole = tree.order_of(0, 1000, 1000, np.uint64(9))
    assert tree.order_of(400, 450, 1000, np.uint64(9)).tolist() == whole[400:450].tolist()


def test_a_taxonomy_where_everything_is_related_has_no_negative():
    """A chain's last node: -1, not a wrong draw."""
    taxonomy = built([(1, 0), (2, 1), (3, 2)])
    assert set(drawn(taxonomy, 3, negatives.UNIFORM, 5)) == {-1}
