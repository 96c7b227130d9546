"""The hinge loss of older taxonomy scripts, pair after pair. Plain twin: tests/reference/hyperbolic.py.

max(0, d(ancestor, descendant) - d(ancestor, negative) + margin), mean over the negatives, times sqrt(gap + 1) over
its mean in the epoch, where the gap is the difference of depths; plus a weight times the mean squared difference
between the radius and a target radius over the rows of the pair. Only those rows move, so the weight means the same at
every size of taxonomy. Rows, state and steps are those of `rows`.
"""

import math

import numpy as np
from jaxtyping import Float, Int
from numba import prange

from corollary.kernels import compiled
from corollary.kernels.splitmix import word
from corollary.kernels.taxonomy.levels import level_negatives
from corollary.kernels.taxonomy.rows import (
    GROWN,
    INVERSE,
    LOSS,
    NUM_TALLIES,
    PAIRS,
    SHRUNK,
    SMALLEST_SINH,
    WITHOUT_NEGATIVES,
    bend_of,
    beyond_one,
    move,
    radial_of,
)
from corollary.kernels.taxonomy.tree import Tree, pair_at, pair_in_order


@compiled()
def _apart(
    table: Float[np.ndarray, "nodes columns"],
    width: int,
    row: int,
    other: int,
    own: Float[np.ndarray, " width"],
) -> tuple[float, float]:
    """cosh of a distance less one, and 1 - cos of the angle; `own` is the first row's direction."""
    bend = bend_of(own, table, other, width)
    beyond = beyond_one(
        table[row, width + GROWN],
        table[row, width + SHRUNK],
        table[other, width + GROWN],
        table[other, width + SHRUNK],
        bend,
    )
    return beyond, bend


@compiled()
def _add(
    table: Float[np.ndarray, "nodes columns"],
    width: int,
    row: int,
    other: int,
    scale: float,
    bend: float,
    radials: Float[np.ndarray, " touched"],
    across: Float[np.ndarray, "touched width"],
    at_row: int,
    at_other: int,
) -> None:
    """Collect, for both ends, `scale` times sinh of the distance times its gradient."""
    grown, shrunk, here = table[row, width + GROWN], table[row, width + SHRUNK], table[row, width + INVERSE]
    thick, thin, there = (
        table[other, width + GROWN],
        table[other, width + SHRUNK],
        table[other, width + INVERSE],
    )
    cosine = 1.0 - bend
    radials[at_row] += scale * radial_of(grown, shrunk, thick, thin, bend) * (here > 0.0)
    radials[at_other] += scale * radial_of(thick, thin, grown, shrunk, bend) * (there > 0.0)
    pull_row, pull_other = -0.5 * scale * (thick - thin), -0.5 * scale * (grown - shrunk)
    for axis in range(width):
        mine, theirs = here * table[row, axis], there * table[other, axis]
        across[at_row, axis] += pull_row * (theirs - cosine * mine)
        across[at_other, axis] += pull_other * (mine - cosine * theirs)


@compiled()
def _pair(
    table: Float[np.ndarray, "nodes columns"],
    width: int,
    rows: Int[np.ndarray, " touched"],
    count: int,
    anchor: int,
    weight: float,
    margin: float,
    regular: float,
    targets: Float[np.ndarray, " nodes"],
    rate: float,
    adagrad: bool,
    largest: float,
    own: Float[np.ndarray, " width"],
    radials: Float[np.ndarray, " touched"],
    across: Float[np.ndarray, "touched width"],
    tally: Float[np.ndarray, " tallies"],
) -> None:
    """Rows are descendant, ancestor, negatives; all gradients are of the state before the pair."""
    for at in range(count + 2):
        radials[at] = 0.0
        for axis in range(width):
            across[at, axis] = 0.0
    row = rows[anchor]
    for axis in range(width):
        own[axis] = table[row, axis] * table[row, width + INVERSE]
    beyond, bend = _apart(table, width, row, rows[1 - anchor], own)
    sinh = math.sqrt(beyond * (beyond + 2.0))
    near = math.log1p(beyond + sinh)
    active, loss, share = 0, 0.0, weight / count
    for at in range(2, count + 2):
        beyond, far_bend = _apart(table, width, row, rows[at], own)
        far_sinh = math.sqrt(beyond * (beyond + 2.0))
        violation = near - math.log1p(beyond + far_sinh) + margin
        if not violation <= 0.0:
            active += 1
            loss += share * violation
            scale = -share / max(far_sinh, SMALLEST_SINH)
            _add(table, width, row, rows[at], scale, far_bend, radials, across, anchor, at)
    if active > 0:
        scale = share * active / max(sinh, SMALLEST_SINH)
        _add(table, width, row, rows[1 - anchor], scale, bend, radials, across, anchor, 1 - anchor)
    if regular > 0.0:
        for at in range(count + 2):
            inverse = table[rows[at], width + INVERSE]
            error = (1.0 / inverse if inverse > 0.0 else 0.0) - targets[rows[at]]
            loss += regular * error * error / (count + 2)
            radials[at] += 2.0 * regular * error / (count + 2) * (inverse > 0.0)
    tally[LOSS] += loss
    for at in range(count + 2):
        move(table, rows[at], width, radials[at], across[at], rate, adagrad, largest, tally)


@compiled(parallel=True)
def hinge_pass(
    table: Float[np.ndarray, "nodes columns"],
    width: int,
    tree: Tree,
    descendant_offsets: Int[np.ndarray, " nodes_or_none"],
    descendants: Int[np.ndarray, " pairs_or_none"],
    num_negatives: int,
    first: int,
    last: int,
    key: np.uint64,
    rate: float,
    adagrad: bool,
    margin: float,
    mean_weight: float,
    regular: float,
    targets: Float[np.ndarray, " nodes"],
    largest: float,
    threads: int,
) -> Float[np.ndarray, "threads tallies"]:
    """Learn from the pairs at the places `first` to `last` of one epoch's order; see `softmax.softmax_pass`.

    Args:
        descendant_offsets, descendants: of `Taxonomy.descendants`.
        mean_weight: mean of sqrt(gap + 1) over the epoch's pairs.
        targets: radius that each row is drawn to.

    Returns:
        The tallies of `softmax_pass`; the loss includes the radial term.

    Memory: 16 bytes a node and thread.
    """
    tallies = np.zeros((threads, NUM_TALLIES))
    for thread in prange(threads):
        begin = first + (last - first) * thread // threads
        end = first + (last - first) * (thread + 1) // threads
        tally = np.zeros(NUM_TALLIES)
        rows = np.empty(num_negatives + 2, np.int64)
        radials = np.empty(num_negatives + 2)
        across = np.empty((num_negatives + 2, width))
        own = np.empty(width)
        scratch = np.empty((2, len(tree.parent) + 2), np.int64)
        for place in range(begin, end):
            row, ancestor = pair_in_order(tree, place, key)
            rows[0], rows[1] = row, ancestor
            drawn, corrupted = level_negatives(
                tree, descendant_offsets, descendants, ancestor, row, word(key, place), rows[2:], scratch[0], scratch[1]
            )  # fmt: skip
            tally[PAIRS] += 1
            if drawn == 0:
                tally[WITHOUT_NEGATIVES] += 1
                continue
            gap = max(0, int(np.int64(tree.depth[row]) - np.int64(tree.depth[ancestor])))
            _pair(
                table, width, rows, drawn, 0 if corrupted else 1, math.sqrt(gap + 1.0) / mean_weight, margin, regular,
                targets, rate, adagrad, largest, own, radials, across, tally,
            )  # fmt: skip
        tallies[thread] = tally
    return tallies


@compiled()
def mean_gap_weight(tree: Tree, numbers: Int[np.ndarray, " pairs"]) -> float:
    """Mean of sqrt(gap + 1) over some pairs."""
    total = 0.0
    for number in numbers:
        row, ancestor = pair_at(tree, number)
        total += math.sqrt(max(0, int(np.int64(tree.depth[row]) - np.int64(tree.depth[ancestor]))) + 1.0)
    return total / len(numbers)
