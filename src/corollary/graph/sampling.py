"""Parts of a typed graph to learn from: drawn edges with the nodes they link, or drawn neighbourhoods of some nodes.

Nothing but numba is needed: the samplers of PyG and DGL want compiled packages that are not to be had from the package
index. A part is a function of (seed, epoch, step), so workers may make them in any number and order.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Int, UInt

from corollary.graph.typed_links import TypedLinks, TypedRows
from corollary.kernels.sampling import (
    draw_by_budget,
    draw_edges,
    draw_neighbours,
    edges_between,
    join,
    spread,
)
from corollary.randomness import generator


@dataclass(frozen=True)
class Part:
    """Some nodes of a graph and some edges between them, with places in the part for rows of the whole."""

    rows: Int[np.ndarray, " rows"]
    """Rows of the whole graph, ascending, so that types lie together in the part too."""
    local: Int[np.ndarray, " nodes"]
    """Place of every row of the whole; -1 outside the part."""
    links: TypedLinks
    """Messages between places of the part, numbered by the triple behind each."""

    @classmethod
    def of(cls, rows: Int[np.ndarray, " rows"], whole: TypedLinks, links: "_Messages") -> Self:
        """Number the nodes and sort the messages."""
        local = np.full(len(whole.nodes), -1, np.int32)
        local[rows] = np.arange(len(rows), dtype=np.int32)
        starts = np.searchsorted(rows, whole.nodes.starts).astype(np.int64)
        places = np.arange(len(rows), dtype=np.int32)
        nodes = TypedRows(places, places, starts, whole.nodes.names)
        sorted_links = TypedLinks.messages(
            nodes,
            local[links.sources],
            links.directed,
            local[links.targets],
            links.numbers,
            edge_types=whole.edge_types,
            block_rows=whole.block_rows,
        )
        return cls(rows, local, sorted_links)


@dataclass(frozen=True)
class _Messages:
    sources: Int[np.ndarray, " edges"]
    directed: Int[np.ndarray, " edges"]
    targets: Int[np.ndarray, " edges"]
    numbers: Int[np.ndarray, " edges"]


class EdgeSampler:
    """`sample_subgraph`: so many edges of every relation, and the nodes that they link.

    Memory: 4 bytes a triple.
    """

    def __init__(
        self,
        links: TypedLinks,
        heads: Int[np.ndarray, " n"],
        relations: Int[np.ndarray, " n"],
        tails: Int[np.ndarray, " n"],
        num_relations: int,
    ) -> None:
        self.links, self._ends, self._num_relations = links, (heads, relations, tails), num_relations
        self._by_relation = np.argsort(relations, kind="stable").astype(np.int32)
        self._sizes = np.bincount(relations, minlength=num_relations)

    def draw(self, wanted: int, seed: int, *place: int) -> Int[np.ndarray, " drawn"]:
        """Numbers of the triples drawn, by relation: `wanted` of each, or all it has."""
        key = generator(seed, "edges", *place).integers(0, 2**63, dtype=np.uint64)
        chosen = np.zeros(len(self._by_relation), np.uint8)
        draw_edges(self._sizes, wanted, np.uint64(key), chosen)
        return self._by_relation[np.flatnonzero(chosen.view(bool))].astype(np.int64)

    def part(self, drawn: Int[np.ndarray, " drawn"], hidden: UInt[np.ndarray, " triples"] | None) -> Part:
        """The nodes that drawn edges link, and messages both ways over those that are not hidden."""
        heads, relations, tails = (ends[drawn] for ends in self._ends)
        inside = np.zeros(len(self.links.nodes), np.uint8)
        inside[heads], inside[tails] = 1, 1
        rows = np.flatnonzero(inside.view(bool))
        if hidden is not None:
            kept = hidden[drawn] == 0
            drawn, heads, relations, tails = drawn[kept], heads[kept], relations[kept], tails[kept]
        messages = _Messages(
            np.concatenate([heads, tails]),
            np.concatenate([relations, relations + self._num_relations]).astype(np.int32),
            np.concatenate([tails, heads]),
            np.concatenate([drawn, drawn]).astype(np.int32),
        )
        return Part.of(rows, self.links, messages)


class Incoming:
    """Which edges arrive at a row: a list of them for every edge type that ends there.

    Memory: 16 bytes for every row that an edge type ends at.
    """

    def __init__(self, links: TypedLinks) -> None:
        self.links = links
        active = np.diff(links.segment_bounds)
        block_of = np.repeat(np.arange(len(links.block_bounds) - 1), np.diff(links.block_bounds))
        first_rows = np.array([rows.start for _, rows in links.nodes.blocks(links.block_rows)] or [0])
        targets = links.rows + np.repeat(first_rows[block_of], active) if len(active) else links.rows
        self._targets = targets.astype(np.int32)
        kinds = np.repeat(links.segment_kinds, active)
        self._directed = np.array([kind.relation for kind in links.edge_types], np.int32)[kinds]
        self.lists = np.argsort(targets, kind="stable").astype(np.int64)
        counts = np.bincount(targets, minlength=len(links.nodes))
        self.bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        """The lists of row i are `lists[bounds[i]]` to `lists[bounds[i + 1]]`."""

    def messages(self, lists: Int[np.ndarray, " edges"], edges: Int[np.ndarray, " edges"]) -> _Messages:
        """Messages over some edges, each with its list."""
        return _Messages(
            self.links.sources[edges], self._directed[lists], self._targets[lists], self.links.edges[edges]
        )


class NeighbourSampler:
    """Neighbourhoods of some nodes: for every node and edge type so many incoming edges, hop after hop."""

    def __init__(self, links: TypedLinks) -> None:
        self.links, self._incoming = links, Incoming(links)

    def part(
        self,
        seeds: Int[np.ndarray, " seeds"],
        fan_outs: tuple[int, ...],
        hidden: UInt[np.ndarray, " triples"],
        seed: int,
        *place: int,
    ) -> Part:
        """The part around some rows. Edges that are hidden are left out after the draw.

        Args:
            fan_outs: most edges of a node and edge type, one number a hop, the nearest hop first.
        """
        local = np.full(len(self.links.nodes), -1, np.int64)
        into = np.empty(len(local), np.int64)
        count, first = join(seeds.astype(np.int64), local, into, 0), 0
        found = []
        for hop, fan_out in enumerate(fan_outs):
            key = generator(seed, "neighbours", *place, hop).integers(0, 2**63, dtype=np.uint64)
            lists, edges = draw_neighbours(
                into[first:count], self._incoming.bounds, self._incoming.lists, self.links.bounds, fan_out,
                np.uint64(key),
            )  # fmt: skip
            kept = hidden[self.links.edges[edges]] == 0
            lists, edges = lists[kept], edges[kept]
            found.append((lists, edges))
            first = count
            count = join(self.links.sources[edges].astype(np.int64), local, into, count)
        lists, edges = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return Part.of(np.sort(into[:count]), self.links, self._incoming.messages(lists, edges))


class BudgetSampler:
    """HGSampling around pairs that are asked for: as many nodes of every type, well linked to what was drawn before.

    Every node drawn gives each neighbour one over the number of its edges of that type; a round draws nodes of each type
    with the square of what they were given as chance. The part has all edges between nodes drawn. So types are even, and
    the part is dense. Differs from Hu et al. 2020: seeds are both ends of edges, whose messages are hidden from the draw
    too, and all types of a round are drawn before their neighbours are given anything.
    Memory: that of `Incoming`; a draw takes 10 bytes a node.
    """

    def __init__(self, links: TypedLinks) -> None:
        self.links, self._incoming = links, Incoming(links)

    def part(
        self,
        seeds: Int[np.ndarray, " seeds"],
        width: int,
        rounds: int,
        hidden: UInt[np.ndarray, " triples"],
        seed: int,
        *place: int,
    ) -> Part:
        """The part around some rows, each given once: at most `width` nodes of each type in each of the rounds beside
        them."""
        links, lists, nodes = self.links, self._incoming.lists, self.links.nodes
        whole = (self._incoming.bounds, lists, links.bounds, links.sources, links.edges, hidden)
        taken, budget = np.zeros(len(nodes), np.uint8), np.zeros(len(nodes))
        newest = seeds.astype(np.int64)
        taken[newest] = 1
        for number in range(rounds):
            spread(newest, *whole, taken, budget)
            key = generator(seed, "budget", *place, number).integers(0, 2**63, dtype=np.uint64)
            bounds = zip(nodes.starts[:-1].tolist(), nodes.starts[1:].tolist(), strict=True)
            drawn = [draw_by_budget(*ends, budget, taken, width, np.uint64(key)) for ends in bounds]
            newest = np.concatenate(drawn)
            taken[newest] = 1
        rows = np.flatnonzero(taken.view(bool))
        return Part.of(rows, links, self._incoming.messages(*edges_between(rows, *whole, taken)))
