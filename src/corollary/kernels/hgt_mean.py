"""Means over the edges of one segment, as R-GCN takes them, and their gradient. Plain twin: tests/reference/hgt.py.

A thread takes a fixed part of the columns, so sums run in the order of the edges whatever the number of threads.
Source: Schlichtkrull et al. 2018, "Modeling relational data with graph convolutional networks".
"""

import numpy as np
from jaxtyping import Float, Int, UInt
from numba import prange

from corollary.kernels import compiled

PART = 32
"""Columns that a thread takes."""
_LOOSE = {"reassoc", "contract", "nsz"}


@compiled(parallel=True, fastmath=_LOOSE)
def mean(
    values: Float[np.ndarray, "rows width"],
    bounds: Int[np.ndarray, " bounds"],
    sources: Int[np.ndarray, " edges"],
    edges: Int[np.ndarray, " edges"],
    removed: UInt[np.ndarray, " triples_or_none"],
    out: Float[np.ndarray, "active width"],
) -> None:
    """The mean of the values that each listed row's edges come from; 0 where all of them are removed."""
    width = values.shape[1]
    for part in prange((width + PART - 1) // PART):
        first, last = part * PART, min(part * PART + PART, width)
        for place in range(len(bounds) - 1):
            total = out[place, first:last]
            for column in range(last - first):
                total[column] = 0
            count = 0
            for edge in range(bounds[place], bounds[place + 1]):
                if len(removed) and removed[edges[edge]]:
                    continue
                count += 1
                value = values[sources[edge], first:last]
                for column in range(last - first):
                    total[column] += value[column]
            for column in range(last - first):
                total[column] /= max(count, 1)


@compiled(parallel=True, fastmath=_LOOSE)
def mean_backward(
    gradient: Float[np.ndarray, "active width"],
    bounds: Int[np.ndarray, " bounds"],
    sources: Int[np.ndarray, " edges"],
    edges: Int[np.ndarray, " edges"],
    removed: UInt[np.ndarray, " triples_or_none"],
    value_gradient: Float[np.ndarray, "rows width"],
) -> None:
    """Add the gradient of each mean to those of its values."""
    width = gradient.shape[1]
    for part in prange((width + PART - 1) // PART):
        first, last = part * PART, min(part * PART + PART, width)
        for place in range(len(bounds) - 1):
            count = 0
            for edge in range(bounds[place], bounds[place + 1]):
                if not (len(removed) and removed[edges[edge]]):
                    count += 1
            if count == 0:
                continue
            share = gradient[place, first:last]
            for edge in range(bounds[place], bounds[place + 1]):
                if len(removed) and removed[edges[edge]]:
                    continue
                back = value_gradient[sources[edge], first:last]
                for column in range(last - first):
                    back[column] += share[column] / count
