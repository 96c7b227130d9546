"""One pass of learning over taxonomy pairs, pair after pair, in hyperbolic space. Plain twin: tests/reference/hyperbolic.py.

Loss: -log of exp(-d) of the positive over the sum of exp(-d) of positive and negatives, anchored at the descendant
(Nickel & Kiela 2017). Rows, state and steps are those of `rows`.

Several threads work on disjoint ranges of an epoch without locks (Niu et al. 2011): then a result may differ between
runs in its last digits. One thread gives the same bytes each time.
"""

import math

import numpy as np
from jaxtyping import Float, Int
from numba import prange

from corollary.kernels import compiled
from corollary.kernels.prefetching import prefetch_row
from corollary.kernels.taxonomy.negatives import Weights, drawn_pair, lists_for
from corollary.kernels.taxonomy.rows import (
    GROWN,
    INVERSE,
    LOSS,
    NOT_FINITE,
    NUM_TALLIES,
    PAIRS,
    SHRUNK,
    SMALLEST_SINH,
    WITHOUT_NEGATIVES,
    bend_of,
    beyond_one,
    move,
    radial_of,
    settle,
    sideways_of,
    step_of,
)
from corollary.kernels.taxonomy.tree import Tree


@compiled()
def _softmax_pair(
    table: Float[np.ndarray, "nodes columns"],
    width: int,
    row: int,
    others: Int[np.ndarray, " others"],
    count: int,
    coming: Int[np.ndarray, " others"],
    rate: float,
    adagrad: bool,
    smallest: float,
    largest: float,
    scratch: Float[np.ndarray, "4 others"],
    total: Float[np.ndarray, " width"],
    own: Float[np.ndarray, " width"],
    tally: Float[np.ndarray, " tallies"],
) -> None:
    """Move a row, its positive (others[0]) and its negatives: those in order, then the row itself.

    Meanwhile the rows of the pair that is next (`coming`) are on their way from memory.
    """
    grown, shrunk, inverse = (
        table[row, width + GROWN],
        table[row, width + SHRUNK],
        table[row, width + INVERSE],
    )
    for axis in range(width):
        own[axis] = table[row, axis] * inverse
        total[axis] = 0.0
    likely, bends, theirs, thinner = scratch[0], scratch[1], scratch[2], scratch[3]
    checked = 0.0
    for at in range(count):
        other = others[at]
        prefetch_row(table, coming[at])
        bends[at] = bend_of(own, table, other, width)
        theirs[at], thinner[at] = table[other, width + GROWN], table[other, width + SHRUNK]
        checked += bends[at] + theirs[at]
    if not abs(checked) < np.inf:
        tally[NOT_FINITE] += 1
        return
    for at in range(count):
        apart = beyond_one(grown, shrunk, theirs[at], thinner[at], bends[at])
        likely[at] = 1.0 / (1.0 + apart + math.sqrt(apart * (apart + 2.0)))  # exp(-distance)
    mass = 0.0
    for at in range(count):
        mass += likely[at]
    tally[LOSS] -= math.log(likely[0] / mass)
    slopes, moving = scratch[2], 0
    for at in range(count):  # those that are to stay where they are leave the lists
        share = likely[at] / mass
        slope = 1.0 - share if at == 0 else -share
        others[moving], bends[moving], likely[moving], slopes[moving] = (
            others[at],
            bends[at],
            likely[at],
            slope,
        )
        moving += abs(slope) >= smallest
    own_radial, kept = 0.0, 0.0
    for at in range(moving):
        other, slope = others[at], slopes[at]
        bend, cosine = bends[at], 1.0 - bends[at]
        direction = table[other, width + INVERSE]
        thick, thin = table[other, width + GROWN], table[other, width + SHRUNK]
        scale = slope / max(0.5 * (1.0 / likely[at] - likely[at]), SMALLEST_SINH)
        own_radial += scale * radial_of(grown, shrunk, thick, thin, bend)
        factor = -0.5 * scale * (thick - thin)
        kept += factor * cosine
        factor *= direction
        for axis in range(width):
            total[axis] += factor * table[other, axis]
        radial = scale * radial_of(thick, thin, grown, shrunk, bend)
        step = step_of(table, other, width, abs(slope), rate, adagrad, tally)
        away = -0.5 * scale * (grown - shrunk) * step * sideways_of(table, other, width)
        along = 1.0 - (step * radial - away * cosine) * direction
        for axis in range(width):
            table[other, axis] = along * table[other, axis] - away * own[axis]
        settle(table, other, width, largest, tally)
    for axis in range(width):
        total[axis] -= kept * own[axis]
    move(table, row, width, own_radial * (inverse > 0.0), total, rate, adagrad, largest, tally)


@compiled(parallel=True)
def softmax_pass(
    table: Float[np.ndarray, "nodes columns"],
    width: int,
    tree: Tree,
    weights: Weights,
    quotas: Int[np.ndarray, " tiers"],
    first: int,
    last: int,
    key: np.uint64,
    rate: float,
    adagrad: bool,
    smallest: float,
    largest: float,
    threads: int,
) -> Float[np.ndarray, "threads tallies"]:
    """Learn from the pairs at the places `first` to `last` of one epoch's order.

    Args:
        table: see `new_table`; changed in place.
        width: see `padded`.
        key: of the epoch; order and negatives follow from it and the place.
        rate: hyperbolic length of a step a unit of gradient (SGD), or of a first step (Adagrad).
        smallest: negatives whose share of the softmax is below are left where they are.
        largest: radius that no row may pass.
        threads: ranges at once; 1 gives the same bytes each time.

    Returns:
        Sum of losses in nats, pairs, steps cut, radii cut, gradients that were not finite, pairs without negatives.
    """
    tallies = np.zeros((threads, NUM_TALLIES))
    for thread in prange(threads):
        begin = first + (last - first) * thread // threads
        end = first + (last - first) * (thread + 1) // threads
        tally = np.zeros(NUM_TALLIES)
        room = quotas.sum() + 1
        others, coming = np.zeros(room, np.int64), np.zeros(room, np.int64)
        floats = np.empty((4, room))
        total, own = np.empty(width), np.empty(width)
        scratch = lists_for(tree)
        next_row, next_drawn, scratch = drawn_pair(tree, weights, quotas, begin, key, coming, scratch)
        for place in range(begin, end):
            row, drawn, others, coming = next_row, next_drawn, coming, others
            if place + 1 < end:
                next_row, next_drawn, scratch = drawn_pair(
                    tree, weights, quotas, place + 1, key, coming, scratch
                )
            tally[PAIRS] += 1
            if drawn == 0:
                tally[WITHOUT_NEGATIVES] += 1
                continue
            _softmax_pair(
                table, width, row, others, drawn + 1, coming, rate, adagrad, smallest, largest, floats, total, own,
                tally,
            )  # fmt: skip
        tallies[thread] = tally
    return tallies
