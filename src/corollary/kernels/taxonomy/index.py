"""Building the index of a taxonomy: topological order, ancestors, preorder. Plain twin: tests/reference/taxonomy.py.

Links run from a child to a parent. `parents` is CSR by child; an id is a row of the graph's vocabulary until the
preorder renumbers it.
"""

import numpy as np
from jaxtyping import Int, UInt

from corollary.kernels import compiled


@compiled()
def topological(
    parent_offsets: Int[np.ndarray, " nodes+1"],
    parents: Int[np.ndarray, " links"],
    child_offsets: Int[np.ndarray, " nodes+1"],
    children: Int[np.ndarray, " links"],
) -> Int[np.ndarray, " reached"]:
    """Ids with every parent before its children. Shorter than the number of nodes where there is a cycle."""
    count = len(parent_offsets) - 1
    waiting = np.empty(count, np.int64)
    order = np.empty(count, np.int32)
    filled = 0
    for node in range(count):
        waiting[node] = parent_offsets[node + 1] - parent_offsets[node]
        if waiting[node] == 0:
            order[filled] = node
            filled += 1
    done = 0
    while done < filled:
        node = order[done]
        done += 1
        for at in range(child_offsets[node], child_offsets[node + 1]):
            child = children[at]
            waiting[child] -= 1
            if waiting[child] == 0:
                order[filled] = child
                filled += 1
    return order[:filled]


@compiled()
def close_upward(
    order: Int[np.ndarray, " nodes"],
    parent_offsets: Int[np.ndarray, " nodes+1"],
    parents: Int[np.ndarray, " links"],
    offsets: Int[np.ndarray, " nodes+1"],
    ancestors: Int[np.ndarray, " pairs"],
) -> Int[np.ndarray, " nodes"]:
    """How many ancestors each node has; where `offsets` has places for them they are written, ascending by id.

    Call it once with `ancestors` empty, and once more with offsets made of the counts. An ancestor is met once a path.

    Cost: nodes * ancestors * parents, and a list of lists in the first pass is not kept: 4 bytes a pair in the second.
    """
    count = len(order)
    fill = len(ancestors) > 0
    counts = np.zeros(count, np.int64)
    stamp = np.full(count, -1, np.int32)
    stack = np.empty(count, np.int32)
    for node in order:
        found, top = 0, 0
        for at in range(parent_offsets[node], parent_offsets[node + 1]):
            if stamp[parents[at]] != node:
                stamp[parents[at]] = node
                stack[top] = parents[at]
                top += 1
        while found < top:
            ancestor = stack[found]
            found += 1
            for at in range(parent_offsets[ancestor], parent_offsets[ancestor + 1]):
                if stamp[parents[at]] != node:
                    stamp[parents[at]] = node
                    stack[top] = parents[at]
                    top += 1
        counts[node] = found
        if fill:
            ancestors[offsets[node] : offsets[node + 1]] = np.sort(stack[:found])
    return counts


@compiled()
def choose_parents(
    order: Int[np.ndarray, " nodes"],
    parent_offsets: Int[np.ndarray, " nodes+1"],
    parents: Int[np.ndarray, " links"],
    weights: Int[np.ndarray, " nodes"],
) -> Int[np.ndarray, " nodes"]:
    """The parent that stands for all of a node's: the one with the largest weight, then the lowest id; -1 for roots."""
    chosen = np.full(len(order), -1, np.int32)
    for node in range(len(order)):
        best = -1
        for at in range(parent_offsets[node], parent_offsets[node + 1]):
            parent = parents[at]
            if (
                best < 0
                or weights[parent] > weights[best]
                or (weights[parent] == weights[best] and parent < best)
            ):
                best = parent
        chosen[node] = best
    return chosen


@compiled()
def preorder(
    order: Int[np.ndarray, " nodes"], chosen: Int[np.ndarray, " nodes"]
) -> tuple[Int[np.ndarray, " nodes"], Int[np.ndarray, " nodes"], Int[np.ndarray, " nodes"]]:
    """Row, number of nodes in the subtree and depth, by id. Roots and children stand in the order of their ids.

    Rows are given without a stack: a parent knows where its next child's subtree begins.
    """
    count = len(order)
    size = np.ones(count, np.int32)
    depth = np.zeros(count, np.int32)
    for place in range(count - 1, -1, -1):
        node = order[place]
        if chosen[node] >= 0:
            size[chosen[node]] += size[node]
    offset = np.zeros(count, np.int32)  # of a subtree within its parent's
    next_free = np.ones(count, np.int32)
    at_root = 0
    for node in range(count):
        if chosen[node] >= 0:
            offset[node] = next_free[chosen[node]]
            next_free[chosen[node]] += size[node]
        else:
            offset[node] = at_root
            at_root += size[node]
    row = np.empty(count, np.int32)
    for node in order:
        row[node] = offset[node]
        if chosen[node] >= 0:
            row[node] += row[chosen[node]]
            depth[node] = depth[chosen[node]] + 1
    return row, size, depth


@compiled()
def find_cycle(
    reached: Int[np.ndarray, " reached"],
    parent_offsets: Int[np.ndarray, " nodes+1"],
    parents: Int[np.ndarray, " links"],
) -> Int[np.ndarray, " cycle"]:
    """Ids along one cycle, from a child to its parent and on; none where every node was reached."""
    count = len(parent_offsets) - 1
    left = np.ones(count, np.bool_)
    left[reached] = False
    seen = np.full(count, -1, np.int64)
    path = np.empty(count, np.int64)
    for first in range(count):
        if not left[first]:
            continue
        node, length = first, 0
        while seen[node] < 0:
            seen[node] = length
            path[length] = node
            length += 1
            for at in range(parent_offsets[node], parent_offsets[node + 1]):
                if left[parents[at]]:
                    node = parents[at]
                    break
        return path[seen[node] : length]
    return path[:0]


@compiled()
def alias_table(weights: Int[np.ndarray, " nodes"]) -> UInt[np.ndarray, " nodes"]:
    """Walker's table of whole-number weights by Vose's method, as `negatives.Weights` has it.

    Shares are rounded to 2**-32 of a row.
    """
    count = len(weights)
    scaled = weights * (count / weights.sum())
    table = np.empty(count, np.uint64)
    small, large = np.empty(count, np.int64), np.empty(count, np.int64)
    smalls = larges = 0
    for row in range(count):
        if scaled[row] < 1.0:
            small[smalls] = row
            smalls += 1
        else:
            large[larges] = row
            larges += 1
    while smalls > 0 and larges > 0:
        smalls -= 1
        row, giver = small[smalls], large[larges - 1]
        table[row] = (np.uint64(scaled[row] * 4294967296.0) << np.uint64(32)) | np.uint64(giver)
        scaled[giver] -= 1.0 - scaled[row]
        if scaled[giver] < 1.0:
            larges -= 1
            small[smalls] = giver
            smalls += 1
    for at in range(smalls):
        table[small[at]] = (np.uint64(0xFFFFFFFF) << np.uint64(32)) | np.uint64(small[at])
    for at in range(larges):
        table[large[at]] = (np.uint64(0xFFFFFFFF) << np.uint64(32)) | np.uint64(large[at])
    return table
