"""Rows of one depth that are no relative of a row, drawn without memory and without rejection.

For the hinge loss of older scripts. Plain twin: tests/reference/taxonomy.py.
"""

import numpy as np
from jaxtyping import Int, UInt

from corollary.kernels import compiled
from corollary.kernels.splitmix import few, word
from corollary.kernels.taxonomy.negatives import pass_over
from corollary.kernels.taxonomy.tree import Tree, relatives


@compiled()
def level_negatives(
    tree: Tree,
    descendant_offsets: Int[np.ndarray, " nodes_or_none"],
    descendants: Int[np.ndarray, " pairs_or_none"],
    ancestor: int,
    row: int,
    key: np.uint64,
    out: Int[np.ndarray, " negatives"],
    listed: Int[np.ndarray, " room"],
    above: Int[np.ndarray, " room"],
) -> tuple[int, bool]:
    """Draw nodes of the depth of `row` that are neither below nor above `ancestor`, for a loss anchored there.

    Where there is none, nodes of the ancestor's depth that are no ancestor of `row` stand in for the ancestor.

    Args:
        descendant_offsets: of `descendants`, CSR by ancestor; both empty in a tree.
        descendants: places (not rows) of every row's descendants, ascending.

    Returns:
        How many were drawn (none or all), and whether they stand in for the ancestor.
    """
    count = _at_level(tree, descendant_offsets, descendants, ancestor, tree.depth[row], listed)
    level = np.int64(tree.depth[row])
    corrupted = tree.level_offsets[level + 1] - tree.level_offsets[level] <= count
    if corrupted:
        level = np.int64(tree.depth[ancestor])
        found = relatives(tree, row, above)
        count = 0
        for at in range(found):
            if tree.depth[above[at]] == level:
                listed[count] = tree.place[above[at]]
                count += 1
    start = tree.level_offsets[level]
    left = tree.level_offsets[level + 1] - start - count
    if left <= 0:
        return 0, corrupted
    if count > 0 and listed[count - 1] - listed[0] == count - 1:  # one run, as in every tree
        for at in range(len(out)):
            place = start + few(word(key, 4 * at), left)
            out[at] = tree.level_rows[place + count * (place >= listed[0])]
        return len(out), corrupted
    for at in range(len(out)):
        out[at] = start + few(word(key, 4 * at), left)
    pass_over(out, 0, len(out), listed, count)
    for at in range(len(out)):
        out[at] = tree.level_rows[out[at]]
    return len(out), corrupted


@compiled()
def _at_level(
    tree: Tree,
    descendant_offsets: Int[np.ndarray, " nodes_or_none"],
    descendants: Int[np.ndarray, " pairs_or_none"],
    ancestor: int,
    level: int,
    out: Int[np.ndarray, " room"],
) -> int:
    """Places of a level that hold descendants of `ancestor`, its ancestors or itself, ascending; returns how many.

    In a tree they are one run of places, of which only the first and the last are written, beside the count.
    """
    if len(tree.ancestors) == 0:
        first = _level_start(tree, level, ancestor)
        last = _level_start(tree, level, ancestor + tree.size[ancestor])
        if last > first:
            out[0], out[last - first - 1] = first, last - 1
        return last - first
    start, stop = tree.level_offsets[level], tree.level_offsets[level + 1]
    low, high = descendant_offsets[ancestor], descendant_offsets[ancestor + 1]
    end = high
    while low < high:
        middle = (low + high) // 2
        if descendants[middle] < start:
            low = middle + 1
        else:
            high = middle
    count, up, last = 0, tree.pair_offsets[ancestor], tree.pair_offsets[ancestor + 1]
    own = tree.depth[ancestor] == level
    while True:  # merge descendants, ancestors and the node itself
        best = stop
        if low < end and descendants[low] < best:
            best = np.int64(descendants[low])
        while up < last and tree.depth[tree.ancestors[up]] != level:
            up += 1
        above = np.int64(tree.place[tree.ancestors[up]]) if up < last else stop
        best = min(best, above)
        if own and tree.place[ancestor] < best:
            best = np.int64(tree.place[ancestor])
        if best >= stop:
            return count
        out[count] = best
        count += 1
        low += low < end and descendants[low] == best
        up += above == best
        own = own and tree.place[ancestor] != best


@compiled()
def _level_start(tree: Tree, level: int, row: int) -> int:
    """The first place of a level whose row is not before `row`."""
    low, high = tree.level_offsets[level], tree.level_offsets[level + 1]
    while low < high:
        middle = (low + high) // 2
        if tree.level_rows[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low


@compiled()
def draw_levels(
    tree: Tree,
    descendant_offsets: Int[np.ndarray, " nodes_or_none"],
    descendants: Int[np.ndarray, " pairs_or_none"],
    pairs: Int[np.ndarray, "queries 2"],
    keys: UInt[np.ndarray, " queries"],
    out: Int[np.ndarray, "queries negatives"],
) -> Int[np.ndarray, " queries"]:
    """`level_negatives` of many pairs (descendant, ancestor): 0 nothing, 1 drawn, 2 in place of the ancestor."""
    kinds = np.zeros(len(pairs), np.int64)
    scratch = np.empty((2, len(tree.parent) + 2), np.int64)
    for query in range(len(pairs)):
        row, ancestor = pairs[query]
        count, corrupted = level_negatives(
            tree,
            descendant_offsets,
            descendants,
            ancestor,
            row,
            keys[query],
            out[query],
            scratch[0],
            scratch[1],
        )
        kinds[query] = 0 if count == 0 else 1 + corrupted
    return kinds
