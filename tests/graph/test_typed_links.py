"""Edges sorted for message passing are the triples of the graph, each in both directions."""

import numpy as np
import pytest

from corollary.graph.typed_links import TypedLinks, TypedRows


@pytest.mark.parametrize("block_rows", [1, 3, 4096])
def test_every_triple_is_there_twice_under_its_number(block_rows):
    """In the segment of its edge type, into the right row of the right block."""
    rng = np.random.default_rng(0)
    nodes = TypedRows.sorted_by(rng.integers(0, 3, 20), ["a", "b", "c"])
    head, relation, tail = rng.integers(0, 20, 60), rng.integers(0, 4, 60), rng.integers(0, 20, 60)
    links = TypedLinks.build(nodes, head, relation, tail, 4, block_rows=block_rows)
    found = []
    for number, (kind, block) in enumerate(nodes.blocks(block_rows)):
        assert set(nodes.types_of(np.arange(block.start, block.stop)).tolist()) == {kind}
        for segment in links.segments(number):
            edge_type = links.edge_types[segment.kind]
            assert edge_type.target == kind
            assert (np.diff(segment.bounds) > 0).all()
            for place, row in enumerate(segment.rows.tolist()):
                for edge in range(int(segment.bounds[place]), int(segment.bounds[place + 1])):
                    source = int(links.sources[edge])
                    assert nodes.types_of(np.array([source]))[0] == edge_type.source
                    found.append((source, edge_type.relation, block.start + row, int(links.edges[edge])))
    rows = list(zip(head.tolist(), relation.tolist(), tail.tolist(), range(60), strict=True))
    expected = [*rows, *((t, r + 4, h, n) for h, r, t, n in rows)]
    assert sorted(found) == sorted(expected)
    assert links.longest == max(np.diff(links.bounds))


def test_a_graph_without_types_has_one(tiny):
    """And nodes without a type in a typed graph have one of their own, last."""
    nodes = TypedRows.of(tiny)
    assert nodes.names == ("untyped",)
    assert np.array_equal(nodes.order, np.arange(30))
    mixed = TypedRows.sorted_by(np.array([2, 0, 2, 1]), ["a", "b", "untyped"])
    assert mixed.order.tolist() == [1, 3, 0, 2]
    assert mixed.starts.tolist() == [0, 1, 2, 4]
    assert mixed.row_of[mixed.order].tolist() == [0, 1, 2, 3]


def test_a_graph_without_edges_has_no_segments():
    nodes = TypedRows.sorted_by(np.zeros(3, np.int64), ["a"])
    none = np.zeros(0, np.int32)
    links = TypedLinks.build(nodes, none, none, none, 1)
    assert links.num_edges == 0
    assert list(links.segments(0)) == []
