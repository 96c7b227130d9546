"""Pairs and negatives of a taxonomy, drawn without memory and without rejection. Plain twin: tests/reference/taxonomy.py.

Rows are in preorder: a subtree is a range of rows, and row < descendant < row + size. What must not be drawn is a
sorted list; a number drawn below (what is left) becomes a row by stepping over the list, one binary search. So a true
relation cannot come out, and nothing is ever drawn twice to avoid it.

Random words are splitmix64 of a key and a counter (Steele, Lea & Flood 2014): the same place gives the same word,
whatever was drawn before. An epoch's order is a keyed Feistel network with cycle walking (Black & Rogaway 2002).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt
from numba import prange

from corollary.kernels import compiled

UNIFORM, DEGREE, SAME_DEPTH, SIBLING, COUSIN, STRUCTURAL = range(6)
NUM_TIERS = 6
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LARGEST = np.int64(2**62)
_LOW = np.uint64(0xFFFFFFFF)
_ROUNDS = 6
SPARE = 18  # places beside a row's ancestors that the lists of `negatives` need


class Tree(NamedTuple):
    """The arrays of a taxonomy's index (see `graph.taxonomy`)."""

    parent: Int[np.ndarray, " nodes"]
    size: Int[np.ndarray, " nodes"]
    depth: Int[np.ndarray, " nodes"]
    place: Int[np.ndarray, " nodes"]
    level_offsets: Int[np.ndarray, " levels+1"]
    level_rows: Int[np.ndarray, " nodes"]
    child_offsets: Int[np.ndarray, " nodes+1"]
    child_rows: Int[np.ndarray, " children"]
    pair_offsets: Int[np.ndarray, " nodes+1"]
    ancestors: Int[np.ndarray, " pairs_or_none"]
    extra_pairs: Int[np.ndarray, " extra"]


class Weights(NamedTuple):
    """Whole-number weights of rows: running sums, and an alias table (Walker 1977) in words of 64 bits.

    Word i holds, in its upper half, the share of 2**32 that stays at row i, and below it the row that has the rest.
    """

    sums: Int[np.ndarray, " nodes+1"]
    alias: UInt[np.ndarray, " nodes"]


@compiled()
def word(key: np.uint64, counter: int) -> np.uint64:
    """The random word number `counter` of a key."""
    x = key + (np.uint64(counter) + np.uint64(1)) * _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled()
def below(bits: np.uint64, limit: int) -> int:
    """A whole number below `limit` (at most 2**51) from a random word."""
    return int(
        np.int64(np.float64(np.int64(bits >> np.uint64(11))) * 1.1102230246251565e-16 * np.float64(limit))
    )


@compiled()
def _few(bits: np.uint64, limit: int) -> int:
    """`below` for limits under 2**32: one multiplication."""
    return int(np.int64(((bits >> np.uint64(32)) * np.uint64(limit)) >> np.uint64(32)))


@compiled()
def permuted(number: int, count: int, key: np.uint64) -> int:
    """Where the place `number` of an epoch of `count` pairs points to: each pair once, in an order that the key decides."""
    bits = 2
    while (1 << bits) < count:
        bits += 2
    half = np.uint64(bits // 2)
    mask = (np.uint64(1) << half) - np.uint64(1)
    x = np.uint64(number)
    while True:
        left, right = x >> half, x & mask
        for step in range(_ROUNDS):
            left, right = right, left ^ (word(key ^ right, step) & mask)
        x = (left << half) | right
        if x < np.uint64(count):
            return int(np.int64(x))


@compiled()
def pair_at(tree: Tree, number: int) -> tuple[int, int]:
    """Descendant and ancestor of a pair by its number: nearest ancestor first in a tree, then the repeated pairs."""
    total = tree.pair_offsets[-1]
    if number >= total:
        number = tree.extra_pairs[(number - total) % len(tree.extra_pairs)]
    low, high = 0, len(tree.pair_offsets) - 1
    while high - low > 1:  # the last row whose pairs begin at or before the number
        middle = (low + high) // 2
        if tree.pair_offsets[middle] <= number:
            low = middle
        else:
            high = middle
    gap = number - tree.pair_offsets[low]
    if len(tree.ancestors) > 0:
        return low, int(np.int64(tree.ancestors[number]))
    ancestor = int(np.int64(tree.parent[low]))
    for _ in range(gap):
        ancestor = int(np.int64(tree.parent[ancestor]))
    return low, ancestor


@compiled()
def relatives(tree: Tree, row: int, out: Int[np.ndarray, " room"]) -> int:
    """Write a row's ancestors and itself in ascending order; returns how many."""
    if len(tree.ancestors) == 0:
        count = tree.pair_offsets[row + 1] - tree.pair_offsets[row] + 1
        for at in range(count - 1, -1, -1):
            out[at] = row
            row = tree.parent[row]
        return count
    first, last = tree.pair_offsets[row], tree.pair_offsets[row + 1]
    count, own = 0, False
    for at in range(first, last):
        ancestor = tree.ancestors[at]
        if not own and ancestor > row:
            out[count] = row
            count += 1
            own = True
        out[count] = ancestor
        count += 1
    if not own:
        out[count] = row
        count += 1
    return count


@compiled()
def fill_up(values: Int[np.ndarray, " room"], count: int) -> int:
    """Lengthen a sorted list with largest numbers to a multiple of 16, so that it is compared 16 at a time."""
    full = (count + 15) // 16 * 16
    for at in range(count, full):
        values[at] = _LARGEST
    return full


@compiled()
def step_over(number: int, gaps: Int[np.ndarray, " room"], count: int) -> int:
    """How many of the listed rows stand at or before the place that `number` becomes; gaps[i] = list[i] - i.

    Up to 64 are compared one by one, several to an instruction: faster than a search whose every step waits.
    """
    low, rest = 0, count
    while rest > 64:
        half = (rest + 1) // 2
        low += half * (gaps[low + half - 1] <= number)
        rest -= half
    found = low
    for at in range(low, low + rest):
        found += gaps[at] <= number
    return found


@compiled()
def contains(values: Int[np.ndarray, " room"], count: int, value: int) -> bool:
    """Whether a sorted list holds a value."""
    if count <= 64:
        found = 0
        for at in range(count):
            found += values[at] == value
        return found > 0
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if values[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < count and values[low] == value


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
    at = first + _few(bits, last - first - 1)
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
        drawn = parent + 1 + _few(word(key, counter + 2), tree.size[parent] - 1 - tree.size[child])
        return drawn + tree.size[child] * (drawn >= child)
    drawn = _other_child(tree, parent, child, word(key, counter + 2))
    if tier == COUSIN:
        first, last = tree.child_offsets[drawn], tree.child_offsets[drawn + 1]
        if last > first:
            drawn = int(np.int64(tree.child_rows[first + _few(word(key, counter + 3), last - first)]))
    return drawn


@compiled()
def negatives(
    tree: Tree,
    weights: Weights,
    quotas: Int[np.ndarray, " tiers"],
    row: int,
    key: np.uint64,
    out: Int[np.ndarray, " negatives"],
    listed: Int[np.ndarray, " room"],
    gaps: Int[np.ndarray, " room"],
    skipped: Int[np.ndarray, " room"],
) -> int:
    """Draw rows that are no ancestor of `row` and not itself; returns how many (none where all rows are).

    A tier that has nothing to offer, or in a taxonomy with several parents offers an ancestor, gives a uniform draw.

    Args:
        quotas: draws by tier.
        listed, gaps, skipped: scratch with room for all ancestors and SPARE more.
    """
    count = relatives(tree, row, listed)
    nodes = len(tree.parent)
    if nodes == count:
        return 0
    drawn = 0
    for at in range(count):
        gaps[at] = listed[at] - at
    full = fill_up(gaps, count)
    fill_up(listed, count)
    for _ in range(quotas[UNIFORM]):
        number = _few(word(key, 4 * drawn), nodes - count)
        out[drawn] = number + step_over(number, gaps, full)
        drawn += 1
    if quotas[DEGREE] > 0:
        first = drawn
        for _ in range(quotas[DEGREE]):
            out[drawn] = alias_row(weights, word(key, 4 * drawn))
            drawn += 1
        for at in range(first, drawn):
            if contains(listed, full, out[at]):
                out[at] = _other_by_weight(weights, word(key, 4 * at + 1), listed, count)
    if quotas[SAME_DEPTH] > 0:
        level = tree.depth[row]
        start = tree.level_offsets[level]
        room = tree.level_offsets[level + 1] - start
        same = 0
        for at in range(count):  # ascending rows of one level have ascending places
            if tree.depth[listed[at]] == level:
                skipped[same] = tree.place[listed[at]] - start - same
                same += 1
        for _ in range(quotas[SAME_DEPTH]):
            if room > same:
                number = _few(word(key, 4 * drawn), room - same)
                out[drawn] = tree.level_rows[start + number + step_over(number, skipped, same)]
            else:
                number = _few(word(key, 4 * drawn), nodes - count)
                out[drawn] = number + step_over(number, gaps, full)
            drawn += 1
    for tier in range(SIBLING, NUM_TIERS):
        for _ in range(quotas[tier]):
            near = _near(tree, row, tier, key, 4 * drawn)
            if near < 0 or (len(tree.ancestors) > 0 and contains(listed, full, near)):
                number = _few(word(key, 4 * drawn), nodes - count)
                near = number + step_over(number, gaps, full)
            out[drawn] = near
            drawn += 1
    return drawn


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
    gaps: Int[np.ndarray, " room"],
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
        found = relatives(tree, row, gaps)
        count = 0
        for at in range(found):
            if tree.depth[gaps[at]] == level:
                listed[count] = tree.place[gaps[at]]
                count += 1
    start = tree.level_offsets[level]
    left = tree.level_offsets[level + 1] - start - count
    if left <= 0:
        return 0, corrupted
    if count > 0 and listed[count - 1] - listed[0] == count - 1:  # one run, as in every tree
        for at in range(len(out)):
            place = start + _few(word(key, 4 * at), left)
            out[at] = tree.level_rows[place + count * (place >= listed[0])]
        return len(out), corrupted
    for at in range(count):
        gaps[at] = listed[at] - start - at
    for at in range(len(out)):
        number = _few(word(key, 4 * at), left)
        out[at] = tree.level_rows[start + number + step_over(number, gaps, count)]
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
        room = tree.pair_offsets[rows[query] + 1] - tree.pair_offsets[rows[query]] + SPARE
        scratch = np.empty((3, room), np.int64)
        negatives(
            tree, weights, quotas, rows[query], keys[query], found[query], scratch[0], scratch[1], scratch[2]
        )
    return found


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


@compiled(parallel=True)
def order_of(first: int, last: int, count: int, key: np.uint64) -> Int[np.ndarray, " places"]:
    """`permuted` of a range of places."""
    found = np.empty(last - first, np.int64)
    for at in prange(last - first):
        found[at] = permuted(first + at, count, key)
    return found


@compiled()
def pairs_at(tree: Tree, numbers: Int[np.ndarray, " pairs"]) -> Int[np.ndarray, "pairs 2"]:
    """`pair_at` of many numbers: descendant and ancestor."""
    found = np.empty((len(numbers), 2), np.int64)
    for at in range(len(numbers)):
        found[at, 0], found[at, 1] = pair_at(tree, numbers[at])
    return found
