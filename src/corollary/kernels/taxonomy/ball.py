"""Learning in coordinates of the Poincaré ball with Riemannian SGD, as published (Nickel & Kiela 2017). Plain twin:
tests/reference/hyperbolic.py.

A row holds x with |x| < 1. The Riemannian gradient is ((1 - |x|^2) / 2)^2 times the Euclidean one, the step is added to x,
and a point that leaves the ball of the largest radius is put back on its edge, which is counted. Loss and negatives are
those of `softmax.softmax_pass`.
"""

import math

import numpy as np
from jaxtyping import Float, Int
from numba import prange

from corollary.kernels import compiled
from corollary.kernels.taxonomy.negatives import Weights, drawn_pair, lists_for
from corollary.kernels.taxonomy.rows import (
    CUT_RADII,
    CUT_STEPS,
    LONGEST_STEP,
    LOSS,
    NOT_FINITE,
    NUM_TALLIES,
    PAIRS,
    SMALLEST_SINH,
    WITHOUT_NEGATIVES,
)
from corollary.kernels.taxonomy.tree import Tree


@compiled()
def _square(table: Float[np.ndarray, "nodes dim"], row: int) -> float:
    total = 0.0
    for axis in range(table.shape[1]):
        total += table[row, axis] * table[row, axis]
    return total


@compiled()
def _descend(
    table: Float[np.ndarray, "nodes dim"],
    row: int,
    gradient: Float[np.ndarray, " dim"],
    rate: float,
    edge: float,
    tally: Float[np.ndarray, " tallies"],
) -> None:
    """One step; its hyperbolic length is cut at 1."""
    dim = table.shape[1]
    half = 0.5 * (1.0 - _square(table, row))
    square = 0.0
    for axis in range(dim):
        square += gradient[axis] * gradient[axis]
    length = rate * half * math.sqrt(square)
    if not length < np.inf:
        tally[NOT_FINITE] += 1
        return
    if length > LONGEST_STEP:
        rate *= LONGEST_STEP / length
        tally[CUT_STEPS] += 1
    for axis in range(dim):
        table[row, axis] -= rate * half * half * gradient[axis]
    reached = math.sqrt(_square(table, row))
    if reached > edge:
        tally[CUT_RADII] += 1
        for axis in range(dim):
            table[row, axis] *= edge / reached


@compiled(parallel=True)
def ball_pass(
    table: Float[np.ndarray, "nodes dim"],
    tree: Tree,
    weights: Weights,
    quotas: Int[np.ndarray, " tiers"],
    first: int,
    last: int,
    key: np.uint64,
    rate: float,
    largest: float,
    threads: int,
) -> Float[np.ndarray, "threads tallies"]:
    """Learn from the pairs at the places `first` to `last` of one epoch's order.

    Args:
        table: coordinates, changed in place.
        largest: radius that no row may pass, in hyperbolic units.

    Returns:
        The tallies of `softmax_pass`.
    """
    tallies = np.zeros((threads, NUM_TALLIES))
    edge = math.tanh(0.5 * largest)
    for thread in prange(threads):
        begin = first + (last - first) * thread // threads
        end = first + (last - first) * (thread + 1) // threads
        tally = np.zeros(NUM_TALLIES)
        dim = table.shape[1]
        others = np.empty(quotas.sum() + 1, np.int64)
        likely = np.empty(quotas.sum() + 1)
        total, part = np.empty(dim), np.empty(dim)
        scratch = lists_for(tree)
        for place in range(begin, end):
            row, drawn, scratch = drawn_pair(tree, weights, quotas, place, key, others, scratch)
            tally[PAIRS] += 1
            if drawn == 0:
                tally[WITHOUT_NEGATIVES] += 1
                continue
            inner, mass = 1.0 - _square(table, row), 0.0
            for at in range(drawn + 1):
                beyond = _gap(table, row, others[at]) * 2.0 / (inner * (1.0 - _square(table, others[at])))
                likely[at] = 1.0 / (1.0 + beyond + math.sqrt(beyond * (beyond + 2.0)))
                mass += likely[at]
            tally[LOSS] -= math.log(likely[0] / mass)
            for axis in range(dim):
                total[axis] = 0.0
            for at in range(drawn + 1):
                slope = (1.0 if at == 0 else 0.0) - likely[at] / mass
                sinh = max(0.5 * (1.0 / likely[at] - likely[at]), SMALLEST_SINH)
                _slopes(table, row, others[at], inner, slope / sinh, total, part)
                _descend(table, others[at], part, rate, edge, tally)
            _descend(table, row, total, rate, edge, tally)
        tallies[thread] = tally
    return tallies


@compiled()
def _gap(table: Float[np.ndarray, "nodes dim"], row: int, other: int) -> float:
    total = 0.0
    for axis in range(table.shape[1]):
        away = table[row, axis] - table[other, axis]
        total += away * away
    return total


@compiled()
def _slopes(
    table: Float[np.ndarray, "nodes dim"],
    row: int,
    other: int,
    inner: float,
    scale: float,
    total: Float[np.ndarray, " dim"],
    part: Float[np.ndarray, " dim"],
) -> None:
    """The Euclidean gradient of cosh of the distance, times `scale`: added to `total` for the row, put in `part`."""
    outer = 1.0 - _square(table, other)
    square = _gap(table, row, other)
    both = 4.0 * scale / (inner * outer)
    for axis in range(len(total)):
        away = table[row, axis] - table[other, axis]
        total[axis] += both * (away + square / inner * table[row, axis])
        part[axis] = both * (square / outer * table[other, axis] - away)
