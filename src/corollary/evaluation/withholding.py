"""Pairs and parents that training does not see, and what is left of a taxonomy without them.

What is left is a relation of its own: placement follows the deepest ancestor that is left, negatives know nothing of
withheld pairs, so a withheld ancestor may be drawn as a negative. An honest question needs that.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from corollary.graph.taxonomy import Taxonomy
from corollary.kernels.taxonomy_draws import pairs_at
from corollary.randomness import generator

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
    """A taxonomy cut in two. Rows of `pairs` are those of `left`."""

    left: Taxonomy
    pairs: Int[np.ndarray, "pairs 2"]
    """Descendant and ancestor, sorted."""

    def lists(self, most: int | None = None, *, seed: int = 0) -> Lists:
        """Questions for the ranks of withheld ancestors among all nodes that are no ancestor, known or withheld.

        Args:
            most: nodes of a fixed random sample; all when not given.
        """
        rows = np.unique(self.pairs[:, 0])
        if most is not None and most < len(rows):
            rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
        kept = self.pairs[np.isin(self.pairs[:, 0], rows)]
        offsets = np.searchsorted(kept[:, 0], np.append(rows, len(self.left)))
        known: list[Any] = []
        for at, row in enumerate(rows):
            withheld = kept[offsets[at] : offsets[at + 1], 1]
            known.append(np.union1d(self.left.ancestors(int(row)), withheld))
        bounds = np.concatenate([[0], np.cumsum([len(part) for part in known])])
        return rows, offsets, np.ascontiguousarray(kept[:, 1]), bounds, np.concatenate(known)


def withhold_pairs(taxonomy: Taxonomy, share: float, *, seed: int) -> Withheld:
    """Withhold a share of all ancestor pairs at random, of nodes that keep at least one ancestor."""
    chosen = generator(seed, "withheld pairs").random(taxonomy.num_pairs) < share
    return withhold(taxonomy, chosen)


def withhold_parents(taxonomy: Taxonomy, share: float, *, seed: int) -> Withheld:
    """Withhold the parent of a share of the leaves that have a grandparent: leaf attachment. No rule finds it again."""
    leaves = taxonomy.leaves
    parents = taxonomy.tree.parent[leaves]
    leaves = leaves[(parents >= 0) & (taxonomy.tree.parent[parents] >= 0)]
    leaves = leaves[generator(seed, "withheld parents").random(len(leaves)) < share]
    chosen = np.zeros(taxonomy.num_pairs, bool)
    starts = taxonomy.tree.pair_offsets[leaves]
    if taxonomy.is_tree:
        chosen[starts] = True  # the nearest ancestor comes first
    else:
        for leaf, start in zip(leaves, starts, strict=True):
            stop = taxonomy.tree.pair_offsets[leaf + 1]
            chosen[
                start + np.searchsorted(taxonomy.tree.ancestors[start:stop], taxonomy.tree.parent[leaf])
            ] = True
    return withhold(taxonomy, chosen)


def withhold(taxonomy: Taxonomy, chosen: Bool[np.ndarray, " pairs"]) -> Withheld:
    """Cut the marked pairs out. A node would lose its last ancestor: it keeps one, and every node keeps its place.

    Memory: 40 bytes a pair.
    """
    numbers = np.arange(taxonomy.num_pairs)
    starts = taxonomy.tree.pair_offsets[:-1]
    counts = np.diff(taxonomy.tree.pair_offsets)
    owner = np.repeat(np.arange(len(taxonomy)), counts)
    lost = np.bincount(owner[chosen], minlength=len(taxonomy)) == counts
    chosen = chosen.copy()
    chosen[starts[lost & (counts > 0)]] = False
    pairs = pairs_at(taxonomy.tree, numbers)
    ids = taxonomy.entity_ids[pairs]
    left = Taxonomy.build(ids[~chosen, 0], ids[~chosen, 1], closed=False)
    moved = left.rows[taxonomy.entity_ids[pairs[chosen]]].astype(np.int64)
    return Withheld(left, moved[np.lexsort((moved[:, 1], moved[:, 0]))])
