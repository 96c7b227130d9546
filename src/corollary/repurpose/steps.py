"""The edges that evidence about a pair can go over: steps between node types, each damped at hubs.

A step of d(u) edges at its source and d(v) at its target, both counted for its relation and direction, weighs
(d(u) * d(v)) ** -damping. Edges straight between the two types of a pair are none: of those the known pairs alone may
be walked over, and only the visible ones. Source: Himmelstein & Baranzini 2015 (degree-weighted path count, .4).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from corollary.graph.folder import Graph
from corollary.kernels.walks import Step, spread
from corollary.repurpose.pairs import Pairs, Places


@dataclass(frozen=True)
class Way:
    """One relation in one direction between two node types."""

    relation: int
    backwards: bool
    """From tail to head."""
    source: int
    target: int
    """Node types, as numbers into `graph.info.node_types`."""


@dataclass(frozen=True)
class Steps:
    """All ways of a graph that a walk may go. Memory: 12 bytes for each edge and direction."""

    pairs: Pairs
    damping: float
    row_type: int
    column_type: int
    relations: tuple[str, ...]
    types: tuple[str, ...]
    steps: dict[Way, Step]

    @classmethod
    def of(cls, graph: Graph, pairs: Pairs, damping: float) -> Self:
        """Read every split of the graph; edges between rows and columns, and those of nodes without a type, are left out.

        Scratch: about 100 bytes for each edge.
        """
        triples = np.concatenate([np.asarray(graph.triples(split)) for split in graph.splits]).astype(
            np.int64
        )
        kinds, local = np.asarray(graph.types).astype(np.int64), _local(graph)
        names = graph.info.node_types
        row, column = names.index(pairs.rows.type), names.index(pairs.columns.type)
        head, relation, tail = triples.T
        ends = kinds[head], kinds[tail]
        usable = (ends[0] >= 0) & (ends[1] >= 0)
        for one, other in ((row, column), (column, row)):
            usable &= ~((ends[0] == one) & (ends[1] == other))
        code = (relation * len(names) + ends[0]) * len(names) + ends[1]
        sizes = np.bincount(kinds[kinds >= 0], minlength=len(names)).tolist()
        found: dict[Way, Step] = {}
        for group in np.unique(code[usable]).tolist():
            mine = usable & (code == group)
            number, source, target = (
                group // len(names) ** 2,
                group // len(names) % len(names),
                group % len(names),
            )
            edges = np.unique(np.stack([local[head[mine]], local[tail[mine]]], axis=1), axis=0)
            found[Way(number, False, source, target)] = _step(edges, sizes[source], sizes[target], damping)
            found[Way(number, True, target, source)] = _step(
                edges[:, ::-1], sizes[target], sizes[source], damping
            )
        return cls(
            pairs,
            damping,
            row,
            column,
            tuple(graph.relations.label(i) for i in range(graph.num_relations)),
            tuple(names),
            found,
        )

    def ways(self, source: int, target: int | None = None) -> list[Way]:
        """Ways from a type, to one type or to any other than rows and columns."""
        ends = (self.row_type, self.column_type)
        return [
            way
            for way in self.steps
            if way.source == source
            and (way.target == target if target is not None else way.target not in ends)
        ]

    def back(self, way: Way) -> Step:
        """The same edges the other way."""
        return self.steps[Way(way.relation, not way.backwards, way.target, way.source)]

    def both(self, way: Way) -> Step:
        """The edges of a relation within one type, in both directions, each pair of nodes linked once."""
        step = self.steps[way]
        source = np.repeat(np.arange(step.num_targets), np.diff(step.offsets))
        edges = np.stack([source, step.targets.astype(np.int64)], axis=1)
        both = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
        return _step(both, step.num_targets, step.num_targets, self.damping)

    def name(self, way: Way) -> str:
        """The relation, and the type it leads to where the source has it to several."""
        relation = self.relations[way.relation]
        kinds = {w.target for w in self.steps if (w.relation, w.source) == (way.relation, way.source)}
        return f"{relation} {self.types[way.target]}" if len(kinds) > 1 else relation

    def without(self, graph: Graph, triples: Int[np.ndarray, "removed 3"]) -> Self:
        """The same as if some triples of the graph were not there; those that no step goes over change nothing."""
        kinds, local, found = np.asarray(graph.types), _local(graph), dict(self.steps)
        for head, relation, tail in triples.tolist():
            there = Way(relation, False, int(kinds[head]), int(kinds[tail]))
            if there not in found:
                continue
            step = found[there]
            source = np.repeat(np.arange(len(step.offsets) - 1), np.diff(step.offsets))
            kept = (source != local[head]) | (step.targets != local[tail])
            edges = np.stack([source, step.targets.astype(np.int64)], axis=1)[kept]
            sizes = len(step.offsets) - 1, step.num_targets
            back = Way(relation, True, there.target, there.source)
            found[there] = _step(edges, *sizes, self.damping)
            found[back] = _step(edges[:, ::-1], *sizes[::-1], self.damping)
        return replace(self, steps=found)

    @cached_property
    def degrees(self) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " columns"]]:
        """Edges of every row and of every column, of all ways together."""
        rows, columns = (np.zeros(len(axis), np.float32) for axis in (self.pairs.rows, self.pairs.columns))
        for way, step in self.steps.items():
            for kind, counts in ((self.row_type, rows), (self.column_type, columns)):
                if way.source == kind:
                    counts += np.diff(step.offsets)
        return rows, columns


def known_step(pairs: Pairs, visible: Places) -> Step:
    """Known pairs as a step from rows to columns, each of weight 1."""
    return _step(visible, len(pairs.rows), len(pairs.columns), 0.0)


def walked(step: Step, sources: Float[np.ndarray, " sources"]) -> Float[np.ndarray, " targets"]:
    """What arrives at every target."""
    found = np.zeros(step.num_targets, np.float32)
    spread(sources, step.offsets, step.targets, step.weights, found)
    return found


def _local(graph: Graph) -> Int[np.ndarray, " entities"]:
    """The place of every node among those of its type, in the order of ids."""
    kinds = np.asarray(graph.types)
    order = np.argsort(kinds, kind="stable")
    starts = np.searchsorted(kinds[order], np.arange(-1, len(graph.info.node_types)))
    local = np.empty(len(kinds), np.int64)
    local[order] = np.arange(len(kinds)) - starts[kinds[order] + 1]
    return local


def _step(edges: Int[np.ndarray, "edges 2"], num_sources: int, num_targets: int, damping: float) -> Step:
    """Distinct edges, sorted by source."""
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    source, target = edges[order].T
    out = np.bincount(source, minlength=num_sources).astype(np.float64)
    into = np.bincount(target, minlength=num_targets).astype(np.float64)
    offsets = np.concatenate([[0], np.cumsum(out)]).astype(np.int64)
    weights = (out[source] * into[target]) ** -damping
    return Step(offsets, target.astype(np.int32), weights.astype(np.float32), int(num_targets))
