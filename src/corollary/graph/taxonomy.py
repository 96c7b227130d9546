"""A taxonomy as an index of preorder rows: who is above whom, at which depth, and every ancestor pair by its number.

Nodes are renumbered so that a subtree is a range of rows: row a is an ancestor of v exactly when a < v < a + size[a].
In a tree the pairs (descendant, ancestor) are never listed: pair i belongs to the row whose running sum of depths
reaches i, and the ancestor is found by climbing. Where nodes have several parents, one of them, with the most ancestors,
makes the spanning tree, and the ancestors are a sorted list a node.

Memory: 36 bytes a node in a tree (94 MB for 2.6 million taxa, where lists of pairs would take 379), and 4 bytes a pair
more where nodes have several parents.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from corollary.errors import InputError
from corollary.graph.folder import Graph
from corollary.kernels.taxonomy import index as kernels
from corollary.kernels.taxonomy.negatives import Weights
from corollary.kernels.taxonomy.tree import Tree, pairs_at

_SHOWN = 8
_LIST = 1 << 18


@dataclass(frozen=True)
class Taxonomy:
    """The index of one taxonomy. Rows are in preorder; `entity_ids` leads back to the graph's vocabulary."""

    tree: Tree
    entity_ids: Int[np.ndarray, " nodes"]

    def __len__(self) -> int:
        return len(self.tree.parent)

    @property
    def num_pairs(self) -> int:
        """Pairs (descendant, ancestor)."""
        return int(self.tree.pair_offsets[-1])

    @property
    def is_tree(self) -> bool:
        """Whether every node has at most one parent and no pair is missing, so that pairs need no list."""
        return len(self.tree.ancestors) == 0

    @property
    def num_levels(self) -> int:
        return len(self.tree.level_offsets) - 1

    @cached_property
    def rows(self) -> Int[np.ndarray, " entities"]:
        """Row of every entity of the vocabulary up to the last that is a node; -1 for those that are none."""
        found = np.full(int(self.entity_ids.max()) + 1, -1, np.int32)
        found[self.entity_ids] = np.arange(len(self), dtype=np.int32)
        return found

    @property
    def leaves(self) -> Int[np.ndarray, " leaves"]:
        """Rows without a child, in any parent's list."""
        has_child = np.diff(self.tree.child_offsets) > 0
        has_child[self.tree.ancestors] = True
        return np.flatnonzero(~has_child)

    def ancestors(self, row: int) -> Int[np.ndarray, " ancestors"]:
        """Rows above one, nearest first in a tree, ascending otherwise."""
        first, last = self.tree.pair_offsets[row : row + 2]
        return pairs_at(self.tree, np.arange(first, last))[:, 1]

    def pairs(self, numbers: Int[np.ndarray, " pairs"]) -> Int[np.ndarray, "pairs 2"]:
        """Rows of descendant and ancestor of some pairs by their numbers."""
        return pairs_at(self.tree, np.asarray(numbers, np.int64))

    def is_above(
        self, ancestors: Int[np.ndarray, " n"], descendants: Int[np.ndarray, " n"]
    ) -> Bool[np.ndarray, " n"]:
        """Whether each first row is an ancestor of the second in the spanning tree: two comparisons."""
        ancestors, descendants = np.asarray(ancestors), np.asarray(descendants)
        return (ancestors < descendants) & (descendants < ancestors + self.tree.size[ancestors])

    @cached_property
    def off_chain(self) -> Int[np.ndarray, " off_chain"]:
        """Numbers of the pairs that the spanning tree does not hold; none in a tree."""
        if self.is_tree:
            return np.empty(0, np.int64)
        found = []
        for first in range(0, self.num_pairs, _LIST):
            numbers = np.arange(first, min(first + _LIST, self.num_pairs))
            row, ancestor = self.pairs(numbers).T
            found.append(numbers[~self.is_above(ancestor, row)])
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def cross_links(self) -> Int[np.ndarray, "links 2"]:
        """Rows of the off-chain pairs in both directions, sorted by the first."""
        pairs = self.pairs(self.off_chain)
        both = np.concatenate([pairs, pairs[:, ::-1]])
        return np.ascontiguousarray(both[np.argsort(both[:, 0], kind="stable")])

    def repeating(self, times: int) -> "Taxonomy":
        """The same with every off-chain pair `times` times in an epoch."""
        extra = np.tile(self.off_chain, times - 1) if times > 1 else np.empty(0, np.int64)
        return Taxonomy(self.tree._replace(extra_pairs=extra), self.entity_ids)

    def descendants(self) -> tuple[Int[np.ndarray, " bounds"], Int[np.ndarray, " pairs"]]:
        """CSR by ancestor of the places of its descendants, ascending; both empty in a tree, which needs none.

        Memory: 4 bytes a pair, and 24 while it is made.
        """
        if self.is_tree:
            return np.empty(0, np.int64), np.empty(0, np.int32)
        rows = np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.tree.pair_offsets))
        places = self.tree.place[rows]
        order = np.lexsort((places, self.tree.ancestors))
        counts = np.bincount(self.tree.ancestors, minlength=len(self))
        return np.concatenate([[0], np.cumsum(counts)]), places[order]

    def degree_weights(self, power: float) -> Weights:
        """Rows weighted by (number of pairs that hold them) ** power, as whole numbers of a 1024th."""
        counts = np.diff(self.tree.pair_offsets)
        if self.is_tree:
            counts = counts + self.tree.size - 1
        else:
            counts = counts + np.bincount(self.tree.ancestors, minlength=len(self))
        weight = np.maximum(1, np.round(1024 * counts.astype(np.float64) ** power)).astype(np.int64)
        return Weights(np.concatenate([[0], np.cumsum(weight)]), kernels.alias_table(weight))

    @classmethod
    def of(cls, graph: Graph, relations: Sequence[str] | None = None, *, closed: bool = True) -> "Taxonomy":
        """The taxonomy in the training triples (child, is a, parent) of a graph folder.

        Args:
            relations: labels that mean "is a"; the only relation of the graph unless given.
            closed: every ancestor pair is trained on; else the given pairs alone.

        Raises `InputError` for a cycle, a loop, or a graph with several relations and none named.
        """
        chosen = _relation_ids(graph, relations)
        triples = graph.triples("train")
        kept = triples if len(chosen) == graph.num_relations else triples[np.isin(triples[:, 1], chosen)]
        if len(kept) == 0:
            raise InputError(
                f"{graph.path} has no link of {', '.join(relations or ())} in train: nothing is above anything"
            )
        child, parent = np.asarray(kept[:, 0]), np.asarray(kept[:, 2])
        return cls.build(
            child, parent, closed=closed, label=lambda node: graph.entities.label(node), where=str(graph.path)
        )

    @classmethod
    def build(
        cls,
        child: Int[np.ndarray, " links"],
        parent: Int[np.ndarray, " links"],
        *,
        closed: bool = True,
        label: Callable[[int], str] = str,
        where: str = "taxonomy",
    ) -> "Taxonomy":
        """The index of links between entity ids. A link of a node to itself is left out where it has no other (a root).

        Cost: about 1 s for 2.6 million nodes; 100 bytes a link while it is made.
        """
        child, parent = _without_root_loops(child, parent, label, where)
        entity_ids, dense = np.unique(np.concatenate([child, parent]), return_inverse=True)
        count = len(entity_ids)
        child, parent = dense[: len(child)].astype(np.int32), dense[len(child) :].astype(np.int32)
        up, parents = _csr(child, parent, count)
        down, children = _csr(parent, child, count)
        order = kernels.topological(up, parents, down, children)
        if len(order) < count:
            _refuse_cycle(order, up, parents, entity_ids, label, where)
        single = closed and int(np.diff(up).max(initial=0)) <= 1
        none = np.empty(0, np.int32)
        lists, offsets = none, np.zeros(count + 1, np.int64)
        if single:
            chosen = kernels.choose_parents(order, up, parents, np.zeros(count, np.int64))
        else:
            counts = kernels.close_upward(order, up, parents, offsets, none)
            chosen = kernels.choose_parents(order, up, parents, counts)
            if closed:
                offsets = np.concatenate([[0], np.cumsum(counts)])
                lists = np.empty(offsets[-1], np.int32)
                kernels.close_upward(order, up, parents, offsets, lists)
            else:
                offsets, lists = up, parents
        row, size, depth = kernels.preorder(order, chosen)
        if closed and depth.sum(dtype=np.int64) == offsets[-1]:
            lists = none  # the links were the closure of a tree
        return cls(
            _arranged(row, size, depth, chosen, offsets, lists), _by_row(entity_ids, row).astype(np.int64)
        )


def _arranged(
    row: Int[np.ndarray, " nodes"],
    size: Int[np.ndarray, " nodes"],
    depth: Int[np.ndarray, " nodes"],
    chosen: Int[np.ndarray, " nodes"],
    offsets: Int[np.ndarray, " bounds"],
    lists: Int[np.ndarray, " pairs_or_none"],
) -> Tree:
    """All arrays in the order of rows."""
    count = len(row)
    node_at = np.empty(count, np.int32)
    node_at[row] = np.arange(count, dtype=np.int32)
    parent = np.where(chosen >= 0, row[chosen], -1).astype(np.int32)[node_at]
    depth = depth[node_at]
    if len(lists):
        counts = np.diff(offsets)[node_at]
        pair_offsets = np.concatenate([[0], np.cumsum(counts)])
        source = np.repeat(offsets[:-1][node_at] - pair_offsets[:-1], counts) + np.arange(pair_offsets[-1])
        ancestors = row[lists[source]]
        ancestors = ancestors[np.lexsort((ancestors, np.repeat(np.arange(count, dtype=np.int32), counts)))]
    else:
        pair_offsets, ancestors = np.concatenate([[0], np.cumsum(depth, dtype=np.int64)]), lists
    level_rows = np.argsort(depth, kind="stable").astype(np.int32)
    place = np.empty(count, np.int32)
    place[level_rows] = np.arange(count, dtype=np.int32)
    child_rows = np.argsort(parent, kind="stable").astype(np.int32)[int((parent < 0).sum()) :]
    child_counts = np.bincount(parent[parent >= 0], minlength=count)
    return Tree(
        parent=parent,
        size=size[node_at],
        depth=depth,
        place=place,
        level_offsets=np.concatenate([[0], np.cumsum(np.bincount(depth))]),
        level_rows=level_rows,
        child_offsets=np.concatenate([[0], np.cumsum(child_counts)]),
        child_rows=child_rows,
        pair_offsets=pair_offsets,
        ancestors=ancestors,
        extra_pairs=np.empty(0, np.int64),
    )


def _by_row(values: Int[np.ndarray, " nodes"], row: Int[np.ndarray, " nodes"]) -> Int[np.ndarray, " nodes"]:
    found = np.empty_like(values)
    found[row] = values
    return found


def _csr(
    key: Int[np.ndarray, " links"], value: Int[np.ndarray, " links"], count: int
) -> tuple[Int[np.ndarray, " bounds"], Int[np.ndarray, " distinct"]]:
    """The distinct values of every key, ascending."""
    codes = np.unique(key.astype(np.int64) * count + value)
    keys, values = codes // count, (codes % count).astype(np.int32)
    return np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=count))]), values


def _relation_ids(graph: Graph, relations: Sequence[str] | None) -> list[int]:
    if relations:
        return [graph.relations.find(relation, where=str(graph.path)) for relation in relations]
    if graph.num_relations > 1:
        names = ", ".join(graph.relations.labels[:_SHOWN])
        raise InputError(
            f"{graph.path} has {graph.num_relations} relations ({names}): say which of them mean 'is a' with --relation"
        )
    return [0]


def _without_root_loops(
    child: Int[np.ndarray, " links"],
    parent: Int[np.ndarray, " links"],
    label: Callable[[int], str],
    where: str,
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " kept"]]:
    """Links without those of a root to itself. Raises `InputError` for a loop of a node that has another parent."""
    loop = child == parent
    if not loop.any():
        return child, parent
    kept = ~loop
    wrong = np.intersect1d(child[loop], child[kept])
    if len(wrong):
        raise InputError(
            f"{where}: {label(int(wrong[0]))!r} is its own parent and has another one too: remove the link to itself"
        )
    return child[kept], parent[kept]


def _refuse_cycle(
    order: Int[np.ndarray, " reached"],
    up: Int[np.ndarray, " bounds"],
    parents: Int[np.ndarray, " links"],
    entity_ids: Int[np.ndarray, " nodes"],
    label: Callable[[int], str],
    where: str,
) -> None:
    cycle = [label(int(entity_ids[node])) for node in kernels.find_cycle(order, up, parents)]
    shown = cycle if len(cycle) <= _SHOWN else [*cycle[: _SHOWN - 1], f"... {len(cycle) - _SHOWN + 1} more"]
    raise InputError(
        f"{where}: a node is its own ancestor: {' > '.join([*shown, cycle[0]])}. Remove one of these links; "
        f"{len(entity_ids) - len(order):,} nodes hang on such a cycle."
    )


def tree_distances(
    tree: Tree, first: Int[np.ndarray, " pairs"], second: Int[np.ndarray, " pairs"]
) -> Float[np.ndarray, " pairs"]:
    """Links on the way between two rows of each pair in the spanning tree; roots are one link from a common one."""
    a, b = first.astype(np.int64), second.astype(np.int64)
    steps = np.zeros(len(a))
    while True:
        lower = tree.depth[a] >= tree.depth[b]
        apart = a != b
        if not apart.any():
            return steps
        up_a, up_b = apart & lower, apart & ~lower
        both_roots = up_a & (tree.parent[a] < 0)
        steps[both_roots] += 2
        a[both_roots] = b[both_roots]
        up_a &= ~both_roots
        a[up_a] = tree.parent[a[up_a]]
        b[up_b] = tree.parent[b[up_b]]
        steps[up_a | up_b] += 1
