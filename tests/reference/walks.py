"""Untrained scores as dense products of matrices in float64: slow, obvious."""

from collections.abc import Iterator

import numpy as np

from corollary.graph.folder import Graph
from corollary.repurpose.pairs import Pairs


def similar(graph: Graph, pairs: Pairs, visible: np.ndarray, damping: float) -> dict[str, np.ndarray]:
    """Similar columns and similar rows, over every relation but those straight between rows and columns."""
    known = np.zeros(pairs.shape)
    known[visible[:, 0], visible[:, 1]] = 1
    like_columns, like_rows = (
        _alike(graph, pairs, axis.type, damping) for axis in (pairs.columns, pairs.rows)
    )
    np.fill_diagonal(like_rows, 0)
    return {"similar columns": known @ like_columns, "similar rows": like_rows @ known}


def paths(graph: Graph, pairs: Pairs, damping: float) -> np.ndarray:
    """Every path of two steps from row to column, over nodes of other types."""
    found = np.zeros(pairs.shape)
    to_others = {
        axis.type: list(_steps(graph, pairs, axis.type, damping)) for axis in (pairs.rows, pairs.columns)
    }
    for kind, first in to_others[pairs.rows.type]:
        for other, last in to_others[pairs.columns.type]:
            if kind == other:
                found += first @ last.T
    return found


def _alike(graph: Graph, pairs: Pairs, kind: str, damping: float) -> np.ndarray:
    """Linked in either direction, or with a neighbour in common."""
    number, kinds, triples = graph.info.node_types.index(kind), np.asarray(graph.types), _triples(graph)
    found = np.zeros(((kinds == number).sum(),) * 2)
    for relation in range(graph.num_relations):
        direct = _matrix(triples[triples[:, 1] == relation], kinds, number, number)
        found += _damped(np.maximum(direct, direct.T), damping)
    return found + sum(step @ step.T for _, step in _steps(graph, pairs, kind, damping))


def _steps(graph: Graph, pairs: Pairs, kind: str, damping: float) -> Iterator[tuple[int, np.ndarray]]:
    """From a type to each type but those of rows and columns, by every relation in both directions."""
    names, kinds, triples = graph.info.node_types, np.asarray(graph.types), _triples(graph)
    others = [
        number for number, name in enumerate(names) if name not in (pairs.rows.type, pairs.columns.type)
    ]
    for relation in range(graph.num_relations):
        mine = triples[triples[:, 1] == relation]
        for other in others:
            for backwards in (False, True):
                step = _matrix(mine, kinds, names.index(kind), other, backwards)
                if step.any():
                    yield other, _damped(step, damping)


def _triples(graph: Graph) -> np.ndarray:
    return np.concatenate([np.asarray(graph.triples(split)) for split in graph.splits])


def _matrix(
    triples: np.ndarray, kinds: np.ndarray, source: int, target: int, backwards: bool = False
) -> np.ndarray:
    """1 where a triple leads from a node of one type to one of another."""
    places = [np.flatnonzero(kinds == kind) for kind in (source, target)]
    found = np.zeros((len(places[0]), len(places[1])))
    for head, _, tail in triples.tolist():
        start, end = (tail, head) if backwards else (head, tail)
        if kinds[start] == source and kinds[end] == target:
            found[np.searchsorted(places[0], start), np.searchsorted(places[1], end)] = 1
    return found


def _damped(links: np.ndarray, damping: float) -> np.ndarray:
    """Each link divided by a power of the degrees of its ends."""
    out, into = links.sum(1, keepdims=True), links.sum(0, keepdims=True)
    return links * np.maximum(out, 1) ** -damping * np.maximum(into, 1) ** -damping
