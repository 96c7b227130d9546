"""Pairs, parents and whole ranks that training does not see, and what is left of a taxonomy without them.

What is left is a relation of its own: placement follows the deepest ancestor that is left, negatives know nothing of
withheld pairs, so a withheld ancestor may be drawn as a negative. An honest question needs that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from corollary.evaluation.reconstruction import ancestor_lists
from corollary.graph.taxonomy import Taxonomy
from corollary.randomness import generator

PAIRS, PARENTS = "pairs", "parents"
Lists = tuple[
    Int[np.ndarray, " rows"],
    Int[np.ndarray, " bounds"],
    Int[np.ndarray, " targets"],
    Int[np.ndarray, " bounds"],
    Int[np.ndarray, " known"],
]
"""Rows, their withheld ancestors as CSR, and all their ancestors as CSR."""


@dataclass(frozen=True)
class Withheld:
    """A taxonomy cut in two. Rows are those of `full`, the taxonomy with all its pairs."""

    full: Taxonomy
    left: Taxonomy
    parts: Mapping[str, Int[np.ndarray, "pairs 2"]]
    """Descendant and ancestor, sorted, by why they are withheld: `pairs`, `parents`, or the name of a rank."""

    def moved(self, points: Float[np.ndarray, "nodes dim"]) -> Float[np.ndarray, "nodes dim"]:
        """Points of the rows of `left`, in the order of the rows of `full`."""
        return points[self.left.rows[self.full.entity_ids]]

    def rows(self, part: str) -> Int[np.ndarray, " rows"]:
        """Rows that lost an ancestor for that reason."""
        return np.unique(self.parts[part][:, 0])

    def lists(self, part: str, most: int | None = None, *, seed: int = 0) -> Lists:
        """Questions for the ranks of withheld ancestors among all nodes that are no ancestor, known or withheld.

        Args:
            most: nodes of a fixed random sample; all when not given.
        """
        rows, pairs = self.rows(part), self.parts[part]
        if most is not None and most < len(rows):
            rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
        kept = pairs[np.isin(pairs[:, 0], rows)]
        offsets = np.searchsorted(kept[:, 0], np.append(rows, len(self.full)))
        bounds, known = ancestor_lists(self.full, rows)
        return rows, offsets, np.ascontiguousarray(kept[:, 1]), bounds, known


def withhold(taxonomy: Taxonomy, marks: Mapping[str, Bool[np.ndarray, " pairs"]]) -> Withheld:
    """Cut marked pairs out. A node would lose its last ancestor: it keeps one, so that every node keeps a place.

    Memory: 60 bytes a pair.
    """
    chosen = np.logical_or.reduce(list(marks.values()))
    counts = np.diff(taxonomy.tree.pair_offsets)
    lost = (
        np.add.reduceat(np.append(chosen, False).astype(np.int64), taxonomy.tree.pair_offsets[:-1]) == counts
    )
    spared = np.zeros(len(chosen), bool)
    spared[taxonomy.tree.pair_offsets[:-1][lost & (counts > 0)]] = True
    chosen &= ~spared
    pairs = taxonomy.pairs(np.arange(taxonomy.num_pairs))
    ids = taxonomy.entity_ids[pairs[~chosen]]
    left = Taxonomy.build(ids[:, 0], ids[:, 1], closed=False)
    parts = {name: pairs[mark & chosen] for name, mark in marks.items()}
    sorted_parts = {name: part[np.lexsort((part[:, 1], part[:, 0]))] for name, part in parts.items()}
    return Withheld(taxonomy, left, {name: part for name, part in sorted_parts.items() if len(part)})


def random_pairs(taxonomy: Taxonomy, share: float, *, seed: int) -> Bool[np.ndarray, " pairs"]:
    """Marks a share of all ancestor pairs."""
    return generator(seed, "withheld pairs").random(taxonomy.num_pairs) < share


def parents_of_leaves(taxonomy: Taxonomy, share: float, *, seed: int) -> Bool[np.ndarray, " pairs"]:
    """Marks the parent of a share of the leaves that have a grandparent: leaf attachment. No rule finds it again."""
    leaves, parent = taxonomy.leaves, taxonomy.tree.parent
    leaves = leaves[(parent[leaves] >= 0) & (parent[parent[leaves]] >= 0)]
    leaves = leaves[generator(seed, "withheld parents").random(len(leaves)) < share]
    bounds, ancestors = ancestor_lists(taxonomy, leaves)
    at = np.repeat(taxonomy.tree.pair_offsets[leaves] - bounds[:-1], np.diff(bounds)) + np.arange(bounds[-1])
    marks = np.zeros(taxonomy.num_pairs, bool)
    marks[at[ancestors == np.repeat(parent[leaves], np.diff(bounds))]] = True
    return marks


def above_rank(
    taxonomy: Taxonomy, groups: Int[np.ndarray, " nodes"], rows: Int[np.ndarray, " rows"]
) -> Bool[np.ndarray, " pairs"]:
    """Marks, of some rows, the pairs with their group's node and with all that is not below it.

    Args:
        groups: see `groups_of_rank`.
    """
    bounds, ancestors = ancestor_lists(taxonomy, rows)
    counts = np.diff(bounds)
    at = np.repeat(taxonomy.tree.pair_offsets[rows] - bounds[:-1], counts) + np.arange(bounds[-1])
    marks = np.zeros(taxonomy.num_pairs, bool)
    marks[at[~taxonomy.is_above(np.repeat(groups[rows], counts), ancestors)]] = True
    return marks


def groups_of_rank(
    taxonomy: Taxonomy, types: Int[np.ndarray, " entities"], rank: int
) -> Int[np.ndarray, " nodes"]:
    """The row of that rank at or above every row in the spanning tree; -1 where there is none."""
    own = types[taxonomy.entity_ids] == rank
    found = np.full(len(taxonomy), -1)
    for row in np.flatnonzero(own):  # preorder: a deeper one of the same rank comes later and overwrites
        found[row : row + taxonomy.tree.size[row]] = row
    return found


def nodes_under_ranks(
    taxonomy: Taxonomy, groups: Mapping[str, Int[np.ndarray, " nodes"]], share: float, *, seed: int
) -> dict[str, Int[np.ndarray, " rows"]]:
    """For every rank some leaves whose parent lies below the rank's node; no leaf is taken for two ranks."""
    free = taxonomy.leaves[taxonomy.tree.parent[taxonomy.leaves] >= 0]
    free = generator(seed, "withheld ranks").permutation(free)
    count = round(share * len(free))
    chosen = {}
    for name, group in groups.items():
        parent = taxonomy.tree.parent[free]
        fit = (group[free] >= 0) & taxonomy.is_above(np.maximum(group[free], 0), parent)
        taken = np.flatnonzero(fit)[:count]
        chosen[name] = np.sort(free[taken])
        free = np.delete(free, taken)
    return chosen
