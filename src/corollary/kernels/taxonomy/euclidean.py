"""The Euclidean control: the same pairs, negatives and softmax as `softmax`, with straight distances."""

import math

import numpy as np
from jaxtyping import Float, Int
from numba import prange

from corollary.kernels import compiled
from corollary.kernels.taxonomy.negatives import Weights, drawn_pair, lists_for
from corollary.kernels.taxonomy.tree import Tree

_SMALLEST = 1e-12


@compiled()
def _pull(
    table: Float[np.ndarray, "nodes dim"],
    squares: Float[np.ndarray, " nodes"],
    row: int,
    gradient: Float[np.ndarray, " dim"],
    rate: float,
) -> None:
    """One step of Adagrad with one number a row."""
    length = 0.0
    for axis in range(len(gradient)):
        length += gradient[axis] * gradient[axis]
    if length > 0.0:
        squares[row] += length
        step = rate / math.sqrt(squares[row])
        for axis in range(len(gradient)):
            table[row, axis] -= step * gradient[axis]


@compiled(parallel=True)
def euclidean_pass(
    table: Float[np.ndarray, "nodes dim"],
    squares: Float[np.ndarray, " nodes"],
    tree: Tree,
    weights: Weights,
    quotas: Int[np.ndarray, " tiers"],
    first: int,
    last: int,
    key: np.uint64,
    rate: float,
    smallest: float,
    threads: int,
) -> float:
    """Learn from the pairs at the places `first` to `last` of one epoch's order; the sum of losses in nats."""
    losses = np.zeros(threads)
    for thread in prange(threads):
        begin = first + (last - first) * thread // threads
        end = first + (last - first) * (thread + 1) // threads
        dim = table.shape[1]
        others = np.empty(quotas.sum() + 1, np.int64)
        apart, likely = np.empty(len(others)), np.empty(len(others))
        total, part = np.empty(dim), np.empty(dim)
        scratch = lists_for(tree)
        loss = 0.0
        for place in range(begin, end):
            row, drawn, scratch = drawn_pair(tree, weights, quotas, place, key, others, scratch)
            if drawn == 0:
                continue
            nearest, mass = math.inf, 0.0
            for at in range(drawn + 1):
                square = 0.0
                for axis in range(dim):
                    away = table[row, axis] - table[others[at], axis]
                    square += away * away
                apart[at] = math.sqrt(square)
                nearest = min(nearest, apart[at])
            for at in range(drawn + 1):
                likely[at] = math.exp(nearest - apart[at])
                mass += likely[at]
            loss += apart[0] - nearest + math.log(mass)
            for axis in range(dim):
                total[axis] = 0.0
            for at in range(drawn + 1):
                slope = (1.0 if at == 0 else 0.0) - likely[at] / mass
                if abs(slope) < smallest:
                    continue
                slope /= max(apart[at], _SMALLEST)
                for axis in range(dim):
                    away = slope * (table[row, axis] - table[others[at], axis])
                    total[axis] += away
                    part[axis] = -away
                _pull(table, squares, others[at], part, rate)
            _pull(table, squares, row, total, rate)
        losses[thread] = loss
    return losses.sum()
