"""The node types that a relation's answers have in train: what may answer it."""

from typing import Self

import numpy as np
from jaxtyping import Bool, Int

from corollary.errors import GraphError
from corollary.graph.arrays import PIECE, pieces
from corollary.graph.folder import Graph


class RangeTypes:
    """Which entities may answer a directed relation.

    An entity without a type may answer every relation; a relation without typed answers in train takes every
    entity. Memory: 2 * num_relations * (num_types + 1) bytes; the types of entities stay on disk.
    """

    def __init__(
        self, types: Int[np.ndarray, " entities"], allowed: Bool[np.ndarray, "relations types"]
    ) -> None:
        self.types = types
        self.allowed = allowed
        """By directed relation and type; the last column, which type -1 reads, is for entities without one."""
        self.members = np.zeros(allowed.shape[1], np.int64)
        """Entities by type; last those without one."""
        for start in range(0, len(types), PIECE):
            columns = types[start : start + PIECE] % allowed.shape[1]
            self.members += np.bincount(columns, minlength=allowed.shape[1])
        self.num_allowed = allowed @ self.members
        """Entities that may answer, by directed relation."""

    @classmethod
    def of(cls, graph: Graph) -> Self:
        """Read them off the training triples. Raises `GraphError` where the graph has no types."""
        if graph.types is None:
            raise GraphError(
                f"graph {graph.name} has no node types, so candidates cannot be limited to the types of a relation's "
                "range: import it with types, or rank among all entities"
            )
        count = graph.num_relations
        allowed = np.zeros((2 * count, len(graph.info.node_types) + 1), bool)
        for triples in pieces(graph.path / "edges" / "train.npy"):
            head, relation, tail = triples.T
            allowed[relation, graph.types[tail]] = True
            allowed[relation + count, graph.types[head]] = True
        allowed[:, -1] = False
        allowed[~allowed.any(1)] = True
        allowed[:, -1] = True
        return cls(np.asarray(graph.types), allowed)

    def contain(
        self, relations: Int[np.ndarray, " n"], entities: Int[np.ndarray, " n"]
    ) -> Bool[np.ndarray, " n"]:
        """Whether each entity may answer each directed relation."""
        return self.allowed[relations, self.types[entities]]
