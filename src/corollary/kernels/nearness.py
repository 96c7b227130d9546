"""Who is nearer, counted exactly: no distance is sorted, and no matrix of nodes x nodes exists.

For one query the distance rises with a key without logarithm: cosh d - 1 in hyperbolic space, the square in Euclidean.
Keys of one strip of nodes are made side by side; only those that a threshold may reach are looked at. A key is made by
the same operations in the same order wherever it is made, so a tie is a tie. Plain twin: tests/reference/nearness.py.
"""

import math

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import prange

from corollary.kernels import compiled

_STRIP = 512  # nodes whose keys are made at once: with 16 columns they stay in the nearest cache
_BLOCK = 16  # queries that share a strip


@compiled()
def _keys(
    columns: Float[np.ndarray, "dim nodes"],
    grown: Float[np.ndarray, " nodes"],
    shrunk: Float[np.ndarray, " nodes"],
    query: int,
    start: int,
    stop: int,
    out: Float[np.ndarray, " strip"],
) -> None:
    """Keys of the nodes `start` to `stop` for one query."""
    for at in range(stop - start):
        out[at] = 0.0
    for axis in range(len(columns)):
        mine = columns[axis, query]
        part = columns[axis, start:stop]
        for at in range(stop - start):
            away = part[at] - mine
            out[at] += away * away
    if len(grown) == 0:
        return
    own, thin = grown[query], shrunk[query]
    sines = 0.125 * (own - thin)
    for at in range(stop - start):
        other, thinner = grown[start + at], shrunk[start + at]
        away = own - other
        out[at] = 0.5 * away * away * thin * thinner + sines * (other - thinner) * out[at]


@compiled()
def _place(value: float, marks: Float[np.ndarray, " marks"], count: int, or_equal: bool) -> int:
    """How many of the sorted marks are below a value, or not above it."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if marks[middle] < value or (or_equal and marks[middle] == value):
            low = middle + 1
        else:
            high = middle
    return low


@compiled(parallel=True)
def count_nearer(
    columns: Float[np.ndarray, "dim nodes"],
    grown: Float[np.ndarray, " nodes_or_none"],
    shrunk: Float[np.ndarray, " nodes_or_none"],
    queries: Int[np.ndarray, " queries"],
    offsets: Int[np.ndarray, " queries+1"],
    targets: Int[np.ndarray, " targets"],
    excluded_offsets: Int[np.ndarray, " queries+1"],
    excluded: Int[np.ndarray, " excluded"],
    nearer: Int[np.ndarray, " targets"],
    tied: Int[np.ndarray, " targets"],
) -> Bool[np.ndarray, " queries"]:
    """For every target of every query, the nodes that are strictly nearer to the query, and those exactly as near.

    The query itself and its excluded nodes are not counted; a target that is to be left out stands among them.

    Args:
        columns: directions (hyperbolic) or positions (Euclidean), one axis a line.
        grown, shrunk: exp and exp - of the radii; empty for Euclidean distance.
        targets, excluded: CSR by query.

    Returns:
        Where a key was not a number; counts of such queries mean nothing.

    Cost: about 3 ns a query and node at 10 dimensions on one core (bench/results/poincare.jsonl).
    """
    broken = np.zeros(len(queries), np.bool_)
    nodes = columns.shape[1]
    blocks = (len(queries) + _BLOCK - 1) // _BLOCK
    for block in prange(blocks):
        begin, end = block * _BLOCK, min((block + 1) * _BLOCK, len(queries))
        base = offsets[begin]
        marks = np.empty(offsets[end] - base)
        order = np.empty(offsets[end] - base, np.int64)
        below = np.zeros(offsets[end] - base + _BLOCK, np.int64)
        reached = np.zeros(offsets[end] - base + _BLOCK, np.int64)
        keys, single = np.empty(_STRIP), np.empty(1)
        for at in range(begin, end):
            first, last = offsets[at], offsets[at + 1]
            raw = np.empty(last - first)
            for target in range(first, last):
                _keys(columns, grown, shrunk, queries[at], targets[target], targets[target] + 1, single)
                raw[target - first] = single[0]
                if not single[0] < np.inf:
                    broken[at] = True
            sort = np.argsort(raw, kind="mergesort")
            for target in range(last - first):
                order[first - base + target] = sort[target]
                marks[first - base + target] = raw[sort[target]]
        for start in range(0, nodes, _STRIP):
            stop = min(start + _STRIP, nodes)
            for at in range(begin, end):
                count = offsets[at + 1] - offsets[at]
                if count == 0:
                    continue
                mine = marks[offsets[at] - base : offsets[at + 1] - base]
                shift = offsets[at] - base + at - begin
                _keys(columns, grown, shrunk, queries[at], start, stop, keys)
                largest = mine[count - 1]
                close = 0
                for node in range(stop - start):
                    close += not keys[node] > largest
                if close == 0:
                    continue
                for node in range(stop - start):
                    key = keys[node]
                    if not key > largest:
                        broken[at] |= key != key
                        below[shift + _place(key, mine, count, False)] += 1
                        reached[shift + _place(key, mine, count, True)] += 1
        for at in range(begin, end):
            count = offsets[at + 1] - offsets[at]
            mine = marks[offsets[at] - base : offsets[at + 1] - base]
            shift = offsets[at] - base + at - begin
            for other in range(excluded_offsets[at] - 1, excluded_offsets[at + 1]):
                node = queries[at] if other < excluded_offsets[at] else excluded[other]
                _keys(columns, grown, shrunk, queries[at], node, node + 1, single)
                below[shift + _place(single[0], mine, count, False)] -= 1
                reached[shift + _place(single[0], mine, count, True)] -= 1
            # a key with p marks below it is not nearer than those p; nearer than mark m: keys with at most m reached
            strictly, at_most = 0, 0
            for mark in range(count):
                strictly += reached[shift + mark]
                at_most += below[shift + mark]
                target = offsets[at] + order[offsets[at] - base + mark]
                nearer[target] = strictly
                tied[target] = at_most - strictly
    return broken


@compiled(parallel=True)
def distances(
    columns: Float[np.ndarray, "dim nodes"],
    grown: Float[np.ndarray, " nodes_or_none"],
    shrunk: Float[np.ndarray, " nodes_or_none"],
    queries: Int[np.ndarray, " queries"],
    out: Float[np.ndarray, "queries nodes"],
) -> None:
    """Distances of some nodes to all."""
    for at in prange(len(queries)):
        _keys(columns, grown, shrunk, queries[at], 0, columns.shape[1], out[at])
        for node in range(columns.shape[1]):
            key = out[at, node]
            out[at, node] = math.log1p(key + math.sqrt(key * (key + 2.0))) if len(grown) else math.sqrt(key)
