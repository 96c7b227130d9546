"""Weights of all walks from one node: spread over the edges of one step after another.

A step is a sparse matrix by source (CSR). Spreading a vector over it is one row of a product of sparse matrices, so the
product itself, which may be dense, never exists. Plain twin: tests/reference/walks.py.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from corollary.kernels import compiled


class Step(NamedTuple):
    """Edges from the nodes of one type to those of another, by source."""

    offsets: Int[np.ndarray, " bounds"]
    targets: Int[np.ndarray, " edges"]
    weights: Float[np.ndarray, " edges"]
    num_targets: int


@compiled()
def spread(
    sources: Float[np.ndarray, " sources"],
    offsets: Int[np.ndarray, " bounds"],
    targets: Int[np.ndarray, " edges"],
    weights: Float[np.ndarray, " edges"],
    found: Float[np.ndarray, " targets"],
) -> None:
    """Add to every target the weight of its sources times that of the edge. Time: all edges of sources that are not 0."""
    for source in range(len(sources)):
        value = sources[source]
        if value == 0:
            continue
        for edge in range(offsets[source], offsets[source + 1]):
            found[targets[edge]] += value * weights[edge]
