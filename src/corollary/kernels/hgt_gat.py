"""Additive attention over the edges of one segment, as `hgt` does it for products. Plain twin: tests/reference/hgt.py.

The logit of an edge is LeakyReLU(own + other): a number of the row it ends at and one of the row it comes from, by
head. Source: Veličković et al. 2018, "Graph attention networks"; a bias of the edge type in `own` as in Lv et al. 2021.
"""

import math

import numpy as np
from jaxtyping import Float, Int, UInt
from numba import prange

from corollary.kernels import compiled

SLOPE = 0.2
"""Of the LeakyReLU below zero."""
_LOOSE = {"reassoc", "contract", "nsz"}


@compiled(parallel=True, fastmath=_LOOSE)
def attend(
    own: Float[np.ndarray, "active attn"],
    other: Float[np.ndarray, "rows attn"],
    values: Float[np.ndarray, "rows width"],
    targets: Int[np.ndarray, " active"],
    bounds: Int[np.ndarray, " bounds"],
    sources: Int[np.ndarray, " edges"],
    edges: Int[np.ndarray, " edges"],
    removed: UInt[np.ndarray, " triples_or_none"],
    top: Float[np.ndarray, "block attn"],
    mass: Float[np.ndarray, "block attn"],
    gathered: Float[np.ndarray, "active width"],
    shrink: Float[np.ndarray, "active attn"],
) -> None:
    """Add one segment to a softmax over all edges into its rows; see `hgt.attend`."""
    attn = top.shape[1]
    depth = values.shape[1] // attn
    slope = values.dtype.type(SLOPE)
    for head in prange(attn):
        first = head * depth
        for place in range(len(targets)):
            row = targets[place]
            out = gathered[place, first : first + depth]
            before = top[row, head]
            highest = before
            for edge in range(bounds[place], bounds[place + 1]):
                if len(removed) and removed[edges[edge]]:
                    continue
                logit = own[place, head] + other[sources[edge], head]
                highest = max(highest, max(logit, slope * logit))
            for column in range(depth):
                out[column] = 0
            factor = math.exp(before - highest)
            total = mass[row, head] * factor
            for edge in range(bounds[place], bounds[place + 1]):
                if len(removed) and removed[edges[edge]]:
                    continue
                logit = own[place, head] + other[sources[edge], head]
                weight = math.exp(max(logit, slope * logit) - highest)
                total += weight
                value = values[sources[edge], first : first + depth]
                for column in range(depth):
                    out[column] += weight * value[column]
            top[row, head], mass[row, head], shrink[place, head] = highest, total, factor


@compiled(parallel=True, fastmath=_LOOSE)
def attend_backward(
    own: Float[np.ndarray, "active attn"],
    other: Float[np.ndarray, "rows attn"],
    gradient: Float[np.ndarray, "active width"],
    values: Float[np.ndarray, "rows width"],
    targets: Int[np.ndarray, " active"],
    bounds: Int[np.ndarray, " bounds"],
    sources: Int[np.ndarray, " edges"],
    edges: Int[np.ndarray, " edges"],
    removed: UInt[np.ndarray, " triples_or_none"],
    log_mass: Float[np.ndarray, "block attn"],
    inner: Float[np.ndarray, "block attn"],
    own_gradient: Float[np.ndarray, "active attn"],
    other_gradient: Float[np.ndarray, "rows attn"],
    value_gradient: Float[np.ndarray, "rows width"],
) -> None:
    """Gradients of one segment: overwrites `own_gradient`, adds to the others; see `hgt.attend_backward`."""
    attn = log_mass.shape[1]
    depth = values.shape[1] // attn
    slope = values.dtype.type(SLOPE)
    for head in prange(attn):
        first = head * depth
        for place in range(len(targets)):
            row = targets[place]
            grad = gradient[place, first : first + depth]
            own_gradient[place, head] = 0
            for edge in range(bounds[place], bounds[place + 1]):
                if len(removed) and removed[edges[edge]]:
                    continue
                source = sources[edge]
                logit = own[place, head] + other[source, head]
                weight = math.exp(max(logit, slope * logit) - log_mass[row, head])
                value = values[source, first : first + depth]
                value_back = value_gradient[source, first : first + depth]
                pull = grad[0] * value[0]
                for column in range(1, depth):
                    pull += grad[column] * value[column]
                for column in range(depth):
                    value_back[column] += weight * grad[column]
                back = weight * (pull - inner[row, head])
                if logit < 0:
                    back *= slope
                own_gradient[place, head] += back
                other_gradient[source, head] += back
