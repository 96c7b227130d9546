"""A taxonomy's arrays, and its pairs in an order that a key decides. Plain twin: tests/reference/taxonomy.py.

Rows are in preorder: a subtree is a range of rows, and row < descendant < row + size. An epoch's order is a keyed
Feistel network with cycle walking (Black & Rogaway 2002): any place of it is known without the others.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from numba import prange

from corollary.kernels import compiled
from corollary.kernels.splitmix import word

_ROUNDS = 6


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


@compiled(parallel=True)
def order_of(first: int, last: int, count: int, key: np.uint64) -> Int[np.ndarray, " places"]:
    """`permuted` of a range of places."""
    found = np.empty(last - first, np.int64)
    for at in prange(last - first):
        found[at] = permuted(first + at, count, key)
    return found


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
def pair_in_order(tree: Tree, place: int, key: np.uint64) -> tuple[int, int]:
    """Descendant and ancestor of the pair at a place of the order that an epoch's key decides."""
    return pair_at(tree, permuted(place, tree.pair_offsets[-1] + len(tree.extra_pairs), key))


@compiled()
def pairs_at(tree: Tree, numbers: Int[np.ndarray, " pairs"]) -> Int[np.ndarray, "pairs 2"]:
    """`pair_at` of many numbers: descendant and ancestor."""
    found = np.empty((len(numbers), 2), np.int64)
    for at in range(len(numbers)):
        found[at, 0], found[at, 1] = pair_at(tree, numbers[at])
    return found


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
