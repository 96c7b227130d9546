"""Attention over the edges of one segment: sums of neighbours, and their gradients. No array of edges x width.

A segment's edges are sorted by the row they end at. A thread takes whole heads: their columns of every array are its
own, so sums run in the order of the edges whatever the number of threads, and nothing is locked. Which edges are left
out is a byte for each triple. Works in float32 and float64. Plain twin: tests/reference/hgt.py.

The logit of an edge is a product of query and key (HGT), or with `slope` a LeakyReLU of their sum, one number a head each
(GAT). Which of the two is decided when a kernel is compiled: None is a type of its own.

Sources: Hu et al. 2020, "Heterogeneous graph transformer"; Veličković et al. 2018, "Graph attention networks"; Milakov &
Gimelshein 2018 for the running maximum.
"""

import math

import numpy as np
from jaxtyping import Float, Int, UInt
from numba import prange

from corollary.kernels import compiled

LOWEST = -1e30
"""The running maximum before the first edge."""
_LOOSE = {"reassoc", "contract", "nsz"}


@compiled(fastmath=_LOOSE)
def _dot(a: Float[np.ndarray, " depth"], b: Float[np.ndarray, " depth"]) -> float:
    total = a[0] * b[0]
    for column in range(1, len(a)):
        total += a[column] * b[column]
    return total


@compiled(fastmath=_LOOSE)
def _logit(own: Float[np.ndarray, " part"], key: Float[np.ndarray, " part"], slope: float | None) -> float:
    if slope is None:
        return _dot(own, key)
    raw = own[0] + key[0]
    return max(raw, own.dtype.type(slope) * raw)


@compiled(parallel=True, fastmath=_LOOSE)
def attend(
    slope: float | None,
    query: Float[np.ndarray, "active parts"],
    keys: Float[np.ndarray, "rows parts"],
    values: Float[np.ndarray, "rows width"],
    targets: Int[np.ndarray, " active"],
    bounds: Int[np.ndarray, " bounds"],
    sources: Int[np.ndarray, " edges"],
    edges: Int[np.ndarray, " edges"],
    removed: UInt[np.ndarray, " triples_or_none"],
    longest: int,
    top: Float[np.ndarray, "block attn"],
    mass: Float[np.ndarray, "block attn"],
    gathered: Float[np.ndarray, "active width"],
    shrink: Float[np.ndarray, "active attn"],
) -> None:
    """Add one segment to a softmax over all edges into its rows.

    For each row: `gathered` = sum of exp(logit - top) value. `top` and `mass` (the sum of the exponentials) of the block
    go on running; `shrink` is what sums made under the old maximum are to be multiplied with.

    Args:
        slope: of the LeakyReLU below zero; None for logits that are products.
        query: for each listed row, scaled such that its product with a key is the logit. Each head has the same part
            of the columns of query and keys: one column where attention is additive.
        targets: the listed rows, within the block.
        removed: 1 for a triple whose edges are left out; empty: none.
        longest: most edges of a row.
    """
    attn = top.shape[1]
    depth, part = values.shape[1] // attn, query.shape[1] // attn
    for head in prange(attn):
        logits = np.empty(longest, query.dtype)
        first, begin = head * depth, head * part
        for place in range(len(targets)):
            row = targets[place]
            own = query[place, begin : begin + part]
            out = gathered[place, first : first + depth]
            before = top[row, head]
            highest = before
            for edge in range(bounds[place], bounds[place + 1]):
                if len(removed) and removed[edges[edge]]:
                    continue
                logit = _logit(own, keys[sources[edge], begin : begin + part], slope)
                logits[edge - bounds[place]] = logit
                highest = max(highest, logit)
            out[:] = 0
            factor = math.exp(before - highest)
            total = mass[row, head] * factor
            for edge in range(bounds[place], bounds[place + 1]):
                if len(removed) and removed[edges[edge]]:
                    continue
                weight = math.exp(logits[edge - bounds[place]] - highest)
                total += weight
                value = values[sources[edge], first : first + depth]
                for column in range(depth):
                    out[column] += weight * value[column]
            top[row, head], mass[row, head], shrink[place, head] = highest, total, factor


@compiled(parallel=True, fastmath=_LOOSE)
def attend_backward(
    slope: float | None,
    query: Float[np.ndarray, "active parts"],
    gradient: Float[np.ndarray, "active width"],
    keys: Float[np.ndarray, "rows parts"],
    values: Float[np.ndarray, "rows width"],
    targets: Int[np.ndarray, " active"],
    bounds: Int[np.ndarray, " bounds"],
    sources: Int[np.ndarray, " edges"],
    edges: Int[np.ndarray, " edges"],
    removed: UInt[np.ndarray, " triples_or_none"],
    log_mass: Float[np.ndarray, "block attn"],
    inner: Float[np.ndarray, "block attn"],
    gathered: Float[np.ndarray, "active width"],
    query_gradient: Float[np.ndarray, "active parts"],
    key_gradient: Float[np.ndarray, "rows parts"],
    value_gradient: Float[np.ndarray, "rows width"],
) -> None:
    """Gradients of one segment; attention is made again from the logits.

    Overwrites `query_gradient` and, for products, `gathered` (sum of attention x value, without the relation's matrix);
    adds to `key_gradient` and `value_gradient`.

    Args:
        gradient: of the sum of attention x value of each listed row.
        log_mass: log of the sum of exponentials over all edges into each row of the block.
        inner: product of each row's message with its gradient, by head: what a softmax subtracts.
    """
    attn = log_mass.shape[1]
    depth, part = values.shape[1] // attn, query.shape[1] // attn
    for head in prange(attn):
        first, begin = head * depth, head * part
        for place in range(len(targets)):
            row = targets[place]
            own = query[place, begin : begin + part]
            grad = gradient[place, first : first + depth]
            out = gathered[place, first : first + depth]
            back = query_gradient[place, begin : begin + part]
            out[:] = 0
            back[:] = 0
            for edge in range(bounds[place], bounds[place + 1]):
                if len(removed) and removed[edges[edge]]:
                    continue
                source = sources[edge]
                key = keys[source, begin : begin + part]
                value = values[source, first : first + depth]
                logit = _logit(own, key, slope)
                pull = _dot(grad, value)
                weight = math.exp(logit - log_mass[row, head])
                steep = weight * (pull - inner[row, head])
                key_back = key_gradient[source, begin : begin + part]
                value_back = value_gradient[source, first : first + depth]
                if slope is None:
                    for column in range(depth):
                        out[column] += weight * value[column]
                        back[column] += steep * key[column]
                        key_back[column] += steep * own[column]
                        value_back[column] += weight * grad[column]
                else:
                    if logit < 0:
                        steep *= own.dtype.type(slope)
                    back[0] += steep
                    key_back[0] += steep
                    for column in range(depth):
                        value_back[column] += weight * grad[column]
