"""Ways to measure how far two nodes are apart: the embedding, its controls, and the tree itself."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int

from corollary.evaluation.reconstruction import Space
from corollary.geometry import hyperbolic
from corollary.graph.taxonomy import Taxonomy, tree_distances
from corollary.kernels import nearness
from corollary.kernels.taxonomy.tree import Tree


class Metric(Protocol):
    """Distances between rows of one taxonomy."""

    def to_all(self, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows nodes"]:
        """Distances of some rows to all. Memory: 8 * rows * nodes bytes."""
        ...

    def between(
        self, first: Int[np.ndarray, " pairs"], second: Int[np.ndarray, " pairs"]
    ) -> Float[np.ndarray, " pairs"]: ...

    def radii(self) -> Float[np.ndarray, " nodes"]:
        """How far each row is from the centre."""
        ...


@dataclass(frozen=True)
class Hyperbolic:
    """Free vectors."""

    points: Float[np.ndarray, "nodes dim"]

    @property
    def space(self) -> Space:
        return Space.hyperbolic(self.points)

    def to_all(self, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows nodes"]:
        return _to_all(self.space, rows)

    def between(
        self, first: Int[np.ndarray, " pairs"], second: Int[np.ndarray, " pairs"]
    ) -> Float[np.ndarray, " pairs"]:
        return hyperbolic.distance(self.points[first], self.points[second])

    def radii(self) -> Float[np.ndarray, " nodes"]:
        return np.linalg.norm(self.points, axis=1)


@dataclass(frozen=True)
class Euclidean:
    """Straight distances; the centre is the place of the first root."""

    points: Float[np.ndarray, "nodes dim"]

    @property
    def space(self) -> Space:
        return Space.euclidean(self.points)

    def to_all(self, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows nodes"]:
        return _to_all(self.space, rows)

    def between(
        self, first: Int[np.ndarray, " pairs"], second: Int[np.ndarray, " pairs"]
    ) -> Float[np.ndarray, " pairs"]:
        return np.linalg.norm(self.points[first] - self.points[second], axis=1)

    def radii(self) -> Float[np.ndarray, " nodes"]:
        return np.linalg.norm(self.points - self.points[0], axis=1)


@dataclass(frozen=True)
class TreeMetric:
    """Links on the way in the spanning tree; radii are depths."""

    taxonomy: Taxonomy

    def to_all(self, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows nodes"]:
        return np.stack([_links(self.taxonomy.tree, int(row)) for row in rows])

    def between(
        self, first: Int[np.ndarray, " pairs"], second: Int[np.ndarray, " pairs"]
    ) -> Float[np.ndarray, " pairs"]:
        return tree_distances(self.taxonomy.tree, first, second)

    def radii(self) -> Float[np.ndarray, " nodes"]:
        return self.taxonomy.tree.depth.astype(np.float64)


def _to_all(space: Space, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows nodes"]:
    out = np.empty((len(rows), space.columns.shape[1]))
    nearness.distances(space.columns, space.grown, space.shrunk, rows, out)
    return out


def _links(tree: Tree, row: int) -> Float[np.ndarray, " nodes"]:
    """Every subtree on the way up is a range of rows whose meeting point with the row is its top."""
    meeting = np.full(len(tree.parent), -1)
    way = [row]
    while tree.parent[way[-1]] >= 0:
        way.append(int(tree.parent[way[-1]]))
    for top in reversed(way):
        meeting[top : top + tree.size[top]] = tree.depth[top]
    return (tree.depth[row] + tree.depth - 2 * meeting).astype(np.float64)
