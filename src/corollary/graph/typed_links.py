"""Edges of a typed graph in both directions, sorted by where they end: what message passing walks over.

Rows are nodes sorted by type. They are cut into blocks that never cross a type; the edges into one block of one edge
type (source type, directed relation, type of the block) are a segment, and within it every row that has such edges is
listed with them. So a sum over all incoming edges is a walk over the segments of a block, whatever memory there is.

With R relations, directed relation r < R sends messages from head to tail, r + R from tail to head.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Int

from corollary.graph.folder import Graph

BLOCK_ROWS = 4096
"""Rows of a block. Sums of gradients run block by block, so the number is part of the result."""


@dataclass(frozen=True)
class TypedRows:
    """Nodes sorted by type: row i is entity `order[i]`, and type t has rows `starts[t]` to `starts[t + 1]`.

    Memory: 8 bytes a node.
    """

    order: Int[np.ndarray, " rows"]
    row_of: Int[np.ndarray, " rows"]
    starts: Int[np.ndarray, " bounds"]
    names: tuple[str, ...]
    """Of the types; `untyped` for nodes without one."""

    @classmethod
    def of(cls, graph: Graph) -> Self:
        """Types in the order of the graph's; nodes without one come last. A graph without types has one."""
        names = list(graph.info.node_types)
        if graph.types is None:
            codes = np.zeros(graph.num_entities, np.int64)
            names = ["untyped"]
        else:
            codes = np.asarray(graph.types).astype(np.int64)
            if (codes < 0).any():
                codes = np.where(codes < 0, len(names), codes)
                names.append("untyped")
        return cls.sorted_by(codes, names)

    @classmethod
    def sorted_by(cls, codes: Int[np.ndarray, " rows"], names: Sequence[str]) -> Self:
        """From the type of every entity, as a number into `names`."""
        order = np.argsort(codes, kind="stable").astype(np.int32)
        row_of = np.empty_like(order)
        row_of[order] = np.arange(len(order), dtype=np.int32)
        starts = np.searchsorted(codes[order], np.arange(len(names) + 1)).astype(np.int64)
        return cls(order, row_of, starts, tuple(names))

    @property
    def num_types(self) -> int:
        return len(self.names)

    def __len__(self) -> int:
        return len(self.order)

    def types_of(self, rows: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The type of some rows."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def blocks(self, block_rows: int = BLOCK_ROWS) -> Iterator[tuple[int, slice]]:
        """Type and rows of every block, in order."""
        for kind in range(self.num_types):
            first, last = int(self.starts[kind]), int(self.starts[kind + 1])
            for start in range(first, last, block_rows):
                yield kind, slice(start, min(start + block_rows, last))


class Segment(NamedTuple):
    """The edges of one edge type into one block."""

    kind: int
    """Number of the edge type."""
    rows: Int[np.ndarray, " active"]
    """Rows with such edges, counted from the first of the block."""
    bounds: Int[np.ndarray, " bounds"]
    """The edges of `rows[i]` are `bounds[i]` to `bounds[i + 1]` of `sources` and `edges` of the whole."""


class EdgeType(NamedTuple):
    """Where messages of one kind come from and go to."""

    source: int
    relation: int
    """Directed."""
    target: int


@dataclass(frozen=True)
class TypedLinks:
    """All edges in both directions, by block, edge type and row they end at.

    Memory: 8 bytes for each edge and direction, 12 for each row that an edge type ends at. While it is built about 60
    bytes for each edge and direction (measured).
    """

    nodes: TypedRows
    block_rows: int
    edge_types: tuple[EdgeType, ...]
    sources: Int[np.ndarray, " edges"]
    """Row that each edge comes from."""
    edges: Int[np.ndarray, " edges"]
    """Number of the triple behind each edge."""
    rows: Int[np.ndarray, " active"]
    bounds: Int[np.ndarray, " bounds"]
    segment_bounds: Int[np.ndarray, " segment_bounds"]
    segment_kinds: Int[np.ndarray, " segments"]
    block_bounds: Int[np.ndarray, " block_bounds"]
    """The segments of block b are `block_bounds[b]` to `block_bounds[b + 1]`."""

    @classmethod
    def build(
        cls,
        nodes: TypedRows,
        heads: Int[np.ndarray, " n"],
        relations: Int[np.ndarray, " n"],
        tails: Int[np.ndarray, " n"],
        num_relations: int,
        *,
        edge_types: Sequence[EdgeType] | None = None,
        numbers: Int[np.ndarray, " n"] | None = None,
        block_rows: int = BLOCK_ROWS,
    ) -> Self:
        """The edges head -> tail, and back, between rows of `nodes`; other arguments as in `messages`."""
        numbers = np.arange(len(heads), dtype=np.int32) if numbers is None else numbers
        return cls.messages(
            nodes,
            np.concatenate([heads, tails]).astype(np.int32),
            np.concatenate([relations, relations + num_relations]).astype(np.int32),
            np.concatenate([tails, heads]).astype(np.int32),
            np.concatenate([numbers, numbers]).astype(np.int32),
            edge_types=edge_types,
            block_rows=block_rows,
        )

    @classmethod
    def messages(
        cls,
        nodes: TypedRows,
        sources: Int[np.ndarray, " edges"],
        directed: Int[np.ndarray, " edges"],
        targets: Int[np.ndarray, " edges"],
        numbers: Int[np.ndarray, " edges"],
        *,
        edge_types: Sequence[EdgeType] | None = None,
        block_rows: int = BLOCK_ROWS,
    ) -> Self:
        """Sort edges that each go one way, from `sources` to `targets`.

        Args:
            numbers: of the triple behind each edge.
            edge_types: those of the whole graph, for a part of it; found in the edges when not given.
        """
        count = nodes.num_types
        code = directed.astype(np.int64)
        for ends in (sources, targets):
            code *= count
            code += nodes.types_of(ends)
        if edge_types is None:
            met = np.flatnonzero(np.bincount(code))
            known = tuple(EdgeType(int(c // count % count), int(c // count**2), int(c % count)) for c in met)
        else:
            known = tuple(edge_types)
            met = np.array([(t.relation * count + t.source) * count + t.target for t in known], np.int64)
        place = np.zeros(int(met.max(initial=0)) + 1, np.int32)
        place[met] = np.arange(len(met))
        kinds = place[code]
        del code
        first_rows = np.array([rows.start for _, rows in nodes.blocks(block_rows)] or [0])
        key = np.searchsorted(first_rows, targets, side="right") - 1
        key *= max(len(known), 1)
        key += kinds
        del kinds
        key *= max(len(nodes), 1)
        key += targets
        order = np.argsort(key, kind="stable")
        key = key[order]
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        key = key[starts]
        bounds = np.append(starts, len(order)).astype(np.int64)
        segment = key // max(len(nodes), 1)
        firsts = np.flatnonzero(np.diff(segment, prepend=-1))
        number = segment[firsts]
        block = segment // max(len(known), 1)
        return cls(
            nodes=nodes,
            block_rows=block_rows,
            edge_types=known,
            sources=sources[order],
            edges=numbers[order],
            rows=(key % max(len(nodes), 1) - first_rows[block]).astype(np.int32),
            bounds=bounds,
            segment_bounds=np.append(firsts, len(key)),
            segment_kinds=number % max(len(known), 1),
            block_bounds=np.searchsorted(number // max(len(known), 1), np.arange(len(first_rows) + 1)),
        )

    @classmethod
    def of(cls, graph: Graph, nodes: TypedRows | None = None, *, block_rows: int = BLOCK_ROWS) -> Self:
        """The training triples of a graph."""
        nodes = nodes or TypedRows.of(graph)
        head, relation, tail = np.asarray(graph.triples("train")).T
        return cls.build(
            nodes,
            nodes.row_of[head],
            relation,
            nodes.row_of[tail],
            graph.num_relations,
            block_rows=block_rows,
        )

    @property
    def num_edges(self) -> int:
        """Edges, each direction counted."""
        return len(self.sources)

    @cached_property
    def longest(self) -> int:
        """Most edges of one edge type into one row."""
        return int(np.diff(self.bounds).max(initial=0))

    def answering(self, relation: int) -> Int[np.ndarray, " rows"]:
        """How often each row answers a directed relation: messages of the relation that arrive there."""
        found = np.zeros(len(self.nodes), np.int32)
        for number, (_, block) in enumerate(self.nodes.blocks(self.block_rows)):
            for segment in self.segments(number):
                if self.edge_types[segment.kind].relation == relation:
                    found[block.start + segment.rows] += np.diff(segment.bounds).astype(np.int32)
        return found

    def segments(self, block: int) -> Iterator[Segment]:
        """The segments of one block, in the order of their edge types."""
        for number in range(int(self.block_bounds[block]), int(self.block_bounds[block + 1])):
            active = slice(int(self.segment_bounds[number]), int(self.segment_bounds[number + 1]))
            yield Segment(
                int(self.segment_kinds[number]),
                self.rows[active],
                self.bounds[active.start : active.stop + 1],
            )
