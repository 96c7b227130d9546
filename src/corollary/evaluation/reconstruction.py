"""How well nearness gives back who is above whom: exact ranks among all nodes.

For a node and one of its ancestors, the rank is 1 + the number of non-ancestors nearer to the node, ties counted half.
Mean rank is over all pairs; MAP is the mean over nodes of the average precision of their ancestors (Nickel & Kiela
2017). gensim's own figures count the node itself as a wrong answer; these do not.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from corollary.errors import CorollaryError
from corollary.graph.taxonomy import Taxonomy
from corollary.kernels.nearness import count_nearer

_PAIRS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Space:
    """Where the nodes lie, as the kernels of nearness read it."""

    columns: Float[np.ndarray, "dim nodes"]
    """Directions in hyperbolic space, positions in Euclidean; one axis a line."""
    grown: Float[np.ndarray, " nodes_or_none"]
    """exp of the radii; empty in Euclidean space."""
    shrunk: Float[np.ndarray, " nodes_or_none"]

    @classmethod
    def hyperbolic(cls, points: Float[np.ndarray, "nodes dim"]) -> "Space":
        """Of free vectors, whose length is the hyperbolic radius. Memory: 8 * nodes * (dim + 2) bytes."""
        radius = np.linalg.norm(points, axis=1)
        grown = np.exp(radius)
        columns = np.ascontiguousarray((points / np.where(radius > 0, radius, 1.0)[:, None]).T)
        return cls(columns, grown, 1.0 / grown)

    @classmethod
    def euclidean(cls, points: Float[np.ndarray, "nodes dim"]) -> "Space":
        """Memory: 8 * nodes * dim bytes."""
        none = np.empty(0)
        return cls(np.ascontiguousarray(points.T), none, none)


@dataclass(frozen=True)
class Reconstruction:
    """Mean rank and MAP with their conditions."""

    mean_rank: float
    map: float
    mean_rank_on_chain: float
    """Of pairs that the spanning tree holds."""
    mean_rank_off_chain: float | None
    """Of the others; None in a tree."""
    median_rank: float
    mrr: float
    """Mean of 1 / rank over the pairs."""
    num_pairs: int
    num_nodes: int
    """Nodes with an ancestor that were asked."""
    ties: str = "half"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def sample_rows(taxonomy: Taxonomy, count: int | None, *, seed: int = 0) -> Int[np.ndarray, " rows"]:
    """Rows that have an ancestor: all, or a fixed random sample."""
    rows = np.flatnonzero(np.diff(taxonomy.tree.pair_offsets) > 0)
    if count is None or count >= len(rows):
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))


def reconstruct(space: Space, taxonomy: Taxonomy, rows: Int[np.ndarray, " rows"]) -> Reconstruction:
    """Rank the ancestors of some rows among all nodes.

    Memory: 60 bytes a pair, at most a million pairs at once. Raises `CorollaryError` where a distance is not a number.
    """
    ranks, precisions, on_chain = [], [], []
    for part in _parts(taxonomy, rows):
        offsets, targets = ancestor_lists(taxonomy, part)
        nearer = filtered_ranks(space, part, offsets, targets, offsets, targets)
        ranks.append(nearer)
        precisions.append(average_precisions(nearer, offsets))
        on_chain.append(taxonomy.is_above(targets, np.repeat(part, np.diff(offsets))))
    rank, chain = np.concatenate(ranks), np.concatenate(on_chain)
    return Reconstruction(
        mean_rank=float(rank.mean()),
        map=float(np.concatenate(precisions).mean()),
        mean_rank_on_chain=float(rank[chain].mean()),
        mean_rank_off_chain=None if chain.all() else float(rank[~chain].mean()),
        median_rank=float(np.median(rank)),
        mrr=float((1 / rank).mean()),
        num_pairs=len(rank),
        num_nodes=len(rows),
    )


def filtered_ranks(
    space: Space,
    rows: Int[np.ndarray, " rows"],
    offsets: Int[np.ndarray, " bounds"],
    targets: Int[np.ndarray, " targets"],
    excluded_offsets: Int[np.ndarray, " bounds"],
    excluded: Int[np.ndarray, " excluded"],
) -> Float[np.ndarray, " targets"]:
    """Rank of every target of every row among the nodes that are neither the row nor excluded for it; ties half.

    A target that is not among the excluded is not counted against itself.
    """
    nearer, tied = np.zeros(len(targets), np.int64), np.zeros(len(targets), np.int64)
    broken = count_nearer(
        space.columns,
        space.grown,
        space.shrunk,
        rows,
        offsets,
        targets,
        excluded_offsets,
        excluded,
        nearer,
        tied,
    )
    if broken.any():
        raise CorollaryError(f"row {int(rows[broken][0])} has a distance that is not a number: train again")
    return 1.0 + nearer + 0.5 * tied


def average_precisions(
    ranks: Float[np.ndarray, " pairs"], offsets: Int[np.ndarray, " bounds"]
) -> Float[np.ndarray, " rows"]:
    """Of every row from the ranks of its ancestors among non-ancestors: the k-th nearest stands at rank + k - 1."""
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((ranks, row))
    place = np.arange(len(ranks)) - offsets[:-1][row] + 1
    return np.add.reduceat(place / (ranks[order] + place - 1), offsets[:-1]) / np.diff(offsets)


def ancestor_lists(
    taxonomy: Taxonomy, rows: Int[np.ndarray, " rows"]
) -> tuple[Int[np.ndarray, " bounds"], Int[np.ndarray, " pairs"]]:
    """CSR of the ancestors of some rows."""
    first = taxonomy.tree.pair_offsets[rows]
    counts = taxonomy.tree.pair_offsets[rows + 1] - first
    offsets = np.concatenate([[0], np.cumsum(counts)])
    numbers = np.repeat(first - offsets[:-1], counts) + np.arange(offsets[-1])
    return offsets, taxonomy.pairs(numbers)[:, 1]


def _parts(taxonomy: Taxonomy, rows: Int[np.ndarray, " rows"]) -> Iterator[Int[np.ndarray, " part"]]:
    """Rows cut so that each part has about a million pairs."""
    counts = np.diff(taxonomy.tree.pair_offsets)[rows]
    piece = np.cumsum(counts) // _PAIRS_AT_ONCE
    for number in np.unique(piece):
        yield rows[piece == number]
