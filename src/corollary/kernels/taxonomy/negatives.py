"""Negatives of a taxonomy, drawn without memory and without rejection. Plain twin: tests/reference/taxonomy.py.

What must not be drawn is a sorted list; a number drawn below (what is left) becomes a row by stepping over the list.
So a true relation cannot come out, and nothing is ever drawn twice to avoid it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt
from numba import prange

from corollary.kernels import compiled
from corollary.kernels.splitmix import below, few, word
from corollary.kernels.taxonomy.tree import Tree, pair_in_order, relatives

UNIFORM, DEGREE, SAME_DEPTH, SIBLING, COUSIN, STRUCTURAL = range(6)
NUM_TIERS = 6
_LOW = np.uint64(0xFFFFFFFF)
_SHORT = 64
"""Lists up to here are gone through as a whole, many draws to an instruction; longer ones are searched."""


class Weights(NamedTuple):
    """Whole-number weights of rows: running sums, and an alias table (Walker 1977) in words of 64 bits.

    Word i holds, in its upper half, the share of 2**32 that stays at row i, and below it the row that has the rest.
    """

    sums: Int[np.ndarray, " nodes+1"]
    alias: UInt[np.ndarray, " nodes"]


@compiled()
def pass_over(
    numbers: Int[np.ndarray, " numbers"], first: int, last: int, listed: Int[np.ndarray, " room"], count: int
) -> None:
    """Turn numbers below (how many rows are not listed) into those rows; `first` to `last` of them, in place.

    A row that is listed is stepped over by every number that has come so far.
    """
    if count <= _SHORT:
        for at in range(count):
            for place in range(first, last):
                numbers[place] += numbers[place] >= listed[at]
        return
    for place in range(first, last):
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            if listed[middle] - middle <= numbers[place]:
                low = middle + 1
            else:
                high = middle
        numbers[place] += low


@compiled()
def _strike(
    rows: Int[np.ndarray, " rows"], first: int, last: int, listed: Int[np.ndarray, " room"], count: int
) -> None:
    """Put -1 in the place of rows that are listed; `first` to `last` of them."""
    if count <= _SHORT:
        for at in range(count):
            for place in range(first, last):
                rows[place] = -1 if rows[place] == listed[at] else rows[place]
        return
    for place in range(first, last):
        if contains(listed, count, rows[place]):
            rows[place] = -1


@compiled()
def contains(listed: Int[np.ndarray, " room"], count: int, row: int) -> bool:
    """Whether a sorted list holds a row."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if listed[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low < count and listed[low] == row


@compiled()
def alias_row(weights: Weights, bits: np.uint64) -> int:
    """A row by its weight: one look-up."""
    slot = ((bits >> np.uint64(32)) * np.uint64(len(weights.alias))) >> np.uint64(32)
    entry = weights.alias[slot]
    stays = (bits & _LOW) < (entry >> np.uint64(32))
    return int(np.int64(slot)) if stays else int(np.int64(entry & _LOW))


@compiled()
def _other_by_weight(weights: Weights, bits: np.uint64, listed: Int[np.ndarray, " room"], count: int) -> int:
    """A row by weight that is none of the listed; -1 where none is left.

    What an alias draw gives to listed rows is given to the others in their proportion by such a draw: together that is
    the exact distribution without the listed rows.
    """
    skipped = 0
    for at in range(count):
        skipped += weights.sums[listed[at] + 1] - weights.sums[listed[at]]
    left = weights.sums[-1] - skipped
    if left <= 0:
        return -1
    number = below(bits, left)
    for at in range(count):  # ascending: every listed row that begins at or before the number is stepped over
        if weights.sums[listed[at]] <= number:
            number += weights.sums[listed[at] + 1] - weights.sums[listed[at]]
    low, high = 0, len(weights.sums) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if weights.sums[middle] <= number:
            low = middle
        else:
            high = middle
    return low


@compiled()
def _branching(tree: Tree, row: int, steps: int) -> tuple[int, int]:
    """Climb from a row: an ancestor in the spanning tree with another branch, and the child on the way; -1 at the top."""
    child, parent = row, int(np.int64(tree.parent[row]))
    while parent >= 0:
        steps -= 1
        several = tree.child_offsets[parent + 1] - tree.child_offsets[parent] > 1
        if steps <= 0 and several:
            break
        child, parent = parent, int(np.int64(tree.parent[parent]))
    return parent, child


@compiled()
def _other_child(tree: Tree, parent: int, child: int, bits: np.uint64) -> int:
    """A child of `parent` that is not `child`; children are listed in ascending order."""
    first, last = tree.child_offsets[parent], tree.child_offsets[parent + 1]
    at = first + few(bits, last - first - 1)
    low, high = first, last
    while low < high:
        middle = (low + high) // 2
        if tree.child_rows[middle] < child:
            low = middle + 1
        else:
            high = middle
    return int(np.int64(tree.child_rows[at + (at >= low)]))


@compiled()
def _near(tree: Tree, row: int, tier: int, key: np.uint64, counter: int) -> int:
    """A node near a row: of another branch of the parent, the grandparent, or a geometric number of steps up; -1: none."""
    bits = word(key, counter + 1)
    steps = 1 if tier == SIBLING else 2
    if tier == STRUCTURAL:
        steps = 1
        while bits & np.uint64(1) and steps < 40:
            bits >>= np.uint64(1)
            steps += 1
        bits >>= np.uint64(1)
    parent, child = _branching(tree, row, steps)
    if parent < 0:
        return -1
    if tier == STRUCTURAL and word(key, counter + 3) & np.uint64(1):
        drawn = parent + 1 + few(word(key, counter + 2), tree.size[parent] - 1 - tree.size[child])
        return drawn + tree.size[child] * (drawn >= child)
    drawn = _other_child(tree, parent, child, word(key, counter + 2))
    if tier == COUSIN:
        first, last = tree.child_offsets[drawn], tree.child_offsets[drawn + 1]
        if last > first:
            drawn = int(np.int64(tree.child_rows[first + few(word(key, counter + 3), last - first)]))
    return drawn


@compiled()
def negatives(
    tree: Tree,
    weights: Weights,
    quotas: Int[np.ndarray, " tiers"],
    row: int,
    key: np.uint64,
    out: Int[np.ndarray, " negatives"],
    lists: Int[np.ndarray, "2 room"],
) -> int:
    """Draw rows that are no ancestor of `row` and not itself; returns how many (none where all rows are).

    A tier that has nothing to offer, or in a taxonomy with several parents offers an ancestor, gives a uniform draw.

    Args:
        quotas: draws by tier.
        lists: scratch with room for all ancestors and the row itself.
    """
    listed, of_level = lists[0], lists[1]
    count, nodes = relatives(tree, row, listed), len(tree.parent)
    if nodes == count:
        return 0
    drawn = quotas[UNIFORM]
    _draw_uniform(out, 0, drawn, key, nodes, listed, count)
    if quotas[DEGREE] > 0:
        first, drawn = drawn, drawn + quotas[DEGREE]
        for at in range(first, drawn):
            out[at] = alias_row(weights, word(key, 4 * at))
        _strike(out, first, drawn, listed, count)
        for at in range(first, drawn):
            if out[at] < 0:
                out[at] = _other_by_weight(weights, word(key, 4 * at + 1), listed, count)
    if quotas[SAME_DEPTH] > 0:
        first, drawn = drawn, drawn + quotas[SAME_DEPTH]
        level = tree.depth[row]
        start = tree.level_offsets[level]
        room, same = tree.level_offsets[level + 1] - start, 0
        for at in range(count):  # ascending rows of one level have ascending places
            if tree.depth[listed[at]] == level:
                of_level[same] = tree.place[listed[at]]
                same += 1
        if room == same:
            _draw_uniform(out, first, drawn, key, nodes, listed, count)
        else:
            for at in range(first, drawn):
                out[at] = start + few(word(key, 4 * at), room - same)
            pass_over(out, first, drawn, of_level, same)
            for at in range(first, drawn):
                out[at] = tree.level_rows[out[at]]
    for tier in range(SIBLING, NUM_TIERS):
        for _ in range(quotas[tier]):
            out[drawn] = _near(tree, row, tier, key, 4 * drawn)
            if out[drawn] < 0 or (len(tree.ancestors) > 0 and contains(listed, count, out[drawn])):
                _draw_uniform(out, drawn, drawn + 1, key, nodes, listed, count)
            drawn += 1
    return drawn


@compiled()
def _draw_uniform(
    out: Int[np.ndarray, " negatives"],
    first: int,
    last: int,
    key: np.uint64,
    nodes: int,
    listed: Int[np.ndarray, " room"],
    count: int,
) -> None:
    """Any rows that are not listed, at the places `first` to `last`."""
    for at in range(first, last):
        out[at] = few(word(key, 4 * at), nodes - count)
    pass_over(out, first, last, listed, count)


@compiled()
def lists_for(tree: Tree) -> Int[np.ndarray, "2 room"]:
    """Scratch of `drawn_pair`, long enough for every node of a tree."""
    return np.empty((2, len(tree.level_offsets)), np.int64)


@compiled()
def drawn_pair(
    tree: Tree,
    weights: Weights,
    quotas: Int[np.ndarray, " tiers"],
    place: int,
    key: np.uint64,
    others: Int[np.ndarray, " others"],
    lists: Int[np.ndarray, "2 room"],
) -> tuple[int, int, Int[np.ndarray, "2 room"]]:
    """The pair at a place of an epoch's order with its negatives: `others` gets its ancestor, then those.

    Returns:
        Its descendant, how many negatives it has, and the scratch: a longer one where a node of several parents has
        more ancestors than it held.
    """
    row, others[0] = pair_in_order(tree, place, key)
    needed = tree.pair_offsets[row + 1] - tree.pair_offsets[row] + 1
    if needed > lists.shape[1]:
        lists = np.empty((2, needed), np.int64)
    return row, negatives(tree, weights, quotas, row, word(key, place), others[1:], lists), lists


@compiled(parallel=True)
def draw_all(
    tree: Tree,
    weights: Weights,
    quotas: Int[np.ndarray, " tiers"],
    rows: Int[np.ndarray, " queries"],
    keys: UInt[np.ndarray, " queries"],
) -> Int[np.ndarray, "queries negatives"]:
    """`negatives` of many rows; -1 where nothing could be drawn."""
    found = np.full((len(rows), quotas.sum()), -1, np.int64)
    for query in prange(len(rows)):
        room = tree.pair_offsets[rows[query] + 1] - tree.pair_offsets[rows[query]] + 1
        negatives(
            tree, weights, quotas, rows[query], keys[query], found[query], np.empty((2, room), np.int64)
        )
    return found
