"""The preorder index against sets of ancestors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.errors import InputError
from corollary.graph.folder import write_graph
from corollary.graph.taxonomy import Taxonomy, tree_distances
from tests.reference import taxonomy as reference


@st.composite
def acyclic(draw, most_parents: int = 3) -> list[tuple[int, int]]:
    """Links of a small taxonomy, whose ids say nothing of the order."""
    count = draw(st.integers(2, 14))
    ids = draw(st.permutations(range(count)))
    links = [(1, 0)]
    for node in range(2, count):
        parents = draw(st.sets(st.integers(0, node - 1), max_size=most_parents))
        links += [(node, parent) for parent in parents]
    return sorted({(ids[child], ids[parent]) for child, parent in links})


def built(links: list[tuple[int, int]], *, closed: bool = True) -> Taxonomy:
    child, parent = np.array(links).T
    return Taxonomy.build(child, parent, closed=closed)


def by_entity(taxonomy: Taxonomy) -> dict[int, set[int]]:
    """Ancestors of every entity as the index has them."""
    ids = taxonomy.entity_ids
    return {int(ids[row]): set(ids[taxonomy.ancestors(row)].tolist()) for row in range(len(taxonomy))}


@settings(deadline=None, max_examples=200)
@given(acyclic())
def test_the_index_holds_every_ancestor_and_nothing_else(links):
    """With one parent or several, one root or several."""
    taxonomy = built(links)
    assert by_entity(taxonomy) == reference.ancestors(links)
    assert taxonomy.num_pairs == sum(map(len, reference.ancestors(links).values()))


@settings(deadline=None, max_examples=100)
@given(acyclic(most_parents=1))
def test_a_tree_needs_no_list_of_pairs(links):
    """Two comparisons say who is above whom; depth, size and levels are those of the tree."""
    taxonomy, above = built(links), reference.ancestors(links)
    tree, ids = taxonomy.tree, taxonomy.entity_ids
    assert taxonomy.is_tree
    assert len(tree.ancestors) == 0
    for row in range(len(taxonomy)):
        assert tree.depth[row] == len(above[ids[row]])
        assert tree.size[row] == 1 + sum(int(ids[row]) in a for a in above.values())
        for other in range(len(taxonomy)):
            assert taxonomy.is_above(np.array([row]), np.array([other]))[0] == (ids[row] in above[ids[other]])
    assert tree.depth[tree.level_rows].tolist() == sorted(tree.depth.tolist())
    assert sorted(taxonomy.leaves.tolist()) == [
        row for row in range(len(taxonomy)) if not any(int(ids[row]) in a for a in above.values())
    ]


@settings(deadline=None, max_examples=100)
@given(acyclic())
def test_off_chain_pairs_are_those_that_the_spanning_tree_lacks(links):
    """In a tree there is none; the others keep their number, so that they can be met more often."""
    taxonomy = built(links)
    pairs = taxonomy.pairs(np.arange(taxonomy.num_pairs))
    on_chain = taxonomy.is_above(pairs[:, 1], pairs[:, 0])
    assert taxonomy.off_chain.tolist() == np.flatnonzero(~on_chain).tolist()
    again = taxonomy.repeating(3)
    numbers = np.arange(taxonomy.num_pairs, taxonomy.num_pairs + len(again.tree.extra_pairs))
    repeated = again.pairs(numbers)
    assert sorted(map(tuple, repeated.tolist())) == sorted(
        map(tuple, np.repeat(pairs[~on_chain], 2, 0).tolist())
    )


@settings(deadline=None, max_examples=100)
@given(acyclic(most_parents=1), st.data())
def test_tree_distance_is_the_number_of_links(links, data):
    """Between any two nodes; roots are two links apart."""
    taxonomy = built(links)
    pair = data.draw(st.tuples(*[st.integers(0, len(taxonomy) - 1)] * 2))
    first, second = (np.array([row]) for row in pair)
    expected = reference.tree_distance(taxonomy.tree.parent.tolist(), *pair)
    assert tree_distances(taxonomy.tree, first, second)[0] == expected


@settings(deadline=None, max_examples=100)
@given(acyclic())
def test_given_pairs_alone_can_be_kept(links):
    """A relation that is not closed keeps its gaps."""
    expected: dict[int, set[int]] = {node: set() for link in links for node in link}
    for child, parent in links:
        expected[child].add(parent)
    assert by_entity(built(links, closed=False)) == expected


def test_a_cycle_is_printed():
    """With labels, from a child to its parent and on."""
    with pytest.raises(InputError, match=r"cats: a node is its own ancestor: a > b > c > a\. Remove one"):
        Taxonomy.build(
            np.array([0, 1, 2, 3]), np.array([1, 2, 0, 0]), label=lambda node: "abcd"[node], where="cats"
        )


def test_only_a_root_may_be_its_own_parent():
    """As NCBI writes its root; any other loop is an error that names the node."""
    assert len(Taxonomy.build(np.array([0, 1]), np.array([0, 0]))) == 2
    with pytest.raises(InputError, match="'1' is its own parent and has another one too"):
        Taxonomy.build(np.array([1, 1]), np.array([1, 0]))


def test_a_graph_with_several_relations_has_to_say_which_mean_is_a(tmp_path):
    """The message names them; the chosen ones alone make the taxonomy."""
    triples = np.array([(1, 0, 0), (2, 0, 1), (2, 1, 0)])
    graph = write_graph(
        tmp_path / "g",
        name="g",
        labels=["a", "b", "c"],
        relations=["is a", "eats"],
        triples={"train": triples},
    )
    with pytest.raises(InputError, match="2 relations \\(is a, eats\\): say which of them mean 'is a'"):
        Taxonomy.of(graph)
    assert Taxonomy.of(graph, ["is a"]).num_pairs == 3
