"""Drawing groups of triples out of train, one after the other. Plain twin: tests/reference/drawing.py."""

import numpy as np
from jaxtyping import Int

from corollary.kernels import compiled


@compiled()
def draw_groups(
    order: Int[np.ndarray, " candidates"],
    offsets: Int[np.ndarray, " bounds"],
    relations: Int[np.ndarray, " rows"],
    ends: Int[np.ndarray, "groups 2"],
    quotas: Int[np.ndarray, "splits relations"],
    entity_counts: Int[np.ndarray, " entities"],
    relation_counts: Int[np.ndarray, " relations"],
) -> Int[np.ndarray, " groups"]:
    """The split that each group goes to: 0 stays in train, s + 1 follows row s of `quotas`.

    A group leaves train where both its entities and all its relations keep a triple there, where a split has room
    for the whole of it (the sum of its quotas), and where that brings the relations' counts nearer to the split's
    quotas (sum of absolute differences). The split that it helps most gets it, the first of equals. Quotas and counts
    are changed in place to what is left of them.

    Args:
        order: the groups that may leave train, in the order in which they are asked.
        offsets: the triples of group g are rows offsets[g] to offsets[g + 1].
        relations: of every row, sorted within a group.
        ends: the two entities of each group, the same twice for a loop.
        entity_counts: triples in train that each entity is part of; a loop counts once.
    """
    split_of = np.zeros(len(offsets) - 1, np.int8)
    room = quotas.sum(axis=1)
    for group in order:
        first, last = offsets[group], offsets[group + 1]
        low, high = ends[group, 0], ends[group, 1]
        if entity_counts[low] <= last - first or entity_counts[high] <= last - first:
            continue
        best, best_gain, row = -1, 0, first
        for split in range(len(quotas)):
            gain, row = 0, first
            while row < last and last - first <= room[split]:
                relation, start = relations[row], row
                while row < last and relations[row] == relation:
                    row += 1
                if relation_counts[relation] <= row - start:
                    gain, row = 0, last
                    break
                left = quotas[split, relation]
                gain += abs(left) - abs(left - (row - start))
            if gain > best_gain:
                best, best_gain = split, gain
        if best < 0:
            continue
        split_of[group] = best + 1
        room[best] -= last - first
        entity_counts[low] -= last - first
        if high != low:
            entity_counts[high] -= last - first
        for row in range(first, last):
            relation_counts[relations[row]] -= 1
            quotas[best, relations[row]] -= 1
    return split_of
