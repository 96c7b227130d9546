"""Exponentials over a tile of scores: what softmax and sigmoid losses do between two matrix products.

One pass over a tile, each row by one thread in order. float32 goes through polynomials that the processor evaluates
sixteen at a time: twenty times faster than calling the library for every score (measured: 0.2 ms for 512 x 4,096
against 4.0), with a relative error of at most 1e-7. float64 goes through the library.
Sources: Moshier's Cephes for exp; log1p by the series of the area tangent. Plain twin: tests/reference/exponentials.py.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic, overload

from corollary.kernels import compiled

_f = np.float32
_CONTRACT = {"contract", "nsz"}  # no reassociation: the rounding to whole powers of two must stay as written
_LOOSE = {"reassoc", "contract", "nsz"}


@intrinsic
def _bits_of(context: Any, x: Any) -> Any:
    """A float32's bits as an int32."""
    return types.int32(types.float32), lambda c, builder, s, args: builder.bitcast(args[0], ir.IntType(32))


@intrinsic
def _float_of(context: Any, x: Any) -> Any:
    """An int32's bits as a float32."""
    return types.float32(types.int32), lambda c, builder, s, args: builder.bitcast(args[0], ir.FloatType())


@compiled(fastmath=_CONTRACT)
def _exp_single(x: Any) -> Any:
    """exp of a float32 of at most 88; below -87 it stays at 1.6e-38."""
    x = max(x, _f(-87.0))
    shifted = x * _f(1.44269504088896341) + _f(12582912.0)  # 1.5 * 2**23: the last bits hold the whole number
    whole = shifted - _f(12582912.0)
    rest = x - whole * _f(0.693359375) - whole * _f(-2.12194440e-4)
    value = _f(1.9875691500e-4)
    value = value * rest + _f(1.3981999507e-3)
    value = value * rest + _f(8.3334519073e-3)
    value = value * rest + _f(4.1665795894e-2)
    value = value * rest + _f(1.6666665459e-1)
    value = value * rest + _f(5.0000001201e-1)
    value = value * rest * rest + rest + _f(1.0)
    return _float_of(_bits_of(value) + (_bits_of(shifted) << types.int32(23)))  # type: ignore[call-arg]


@compiled(fastmath=_CONTRACT)
def _log1p_single(x: Any) -> Any:
    """log(1 + x) of a float32 in [0, 1], with a small relative error for small x too."""
    s = x / (x + _f(2.0))
    t = s * s
    value = _f(2 / 15)
    value = value * t + _f(2 / 13)
    value = value * t + _f(2 / 11)
    value = value * t + _f(2 / 9)
    value = value * t + _f(2 / 7)
    value = value * t + _f(2 / 5)
    value = value * t + _f(2 / 3)
    return (value * t + _f(2.0)) * s


def _exp(x: Any) -> Any:
    """exp, by the type of its argument."""
    raise AssertionError("compiled code only")


def _log1p(x: Any) -> Any:
    """log1p on [0, 1], by the type of its argument."""
    raise AssertionError("compiled code only")


@overload(_exp, strict=False)
def _choose_exp(x: Any) -> Any:
    return (lambda x: _exp_single(x)) if x == types.float32 else (lambda x: math.exp(x))


@overload(_log1p, strict=False)
def _choose_log1p(x: Any) -> Any:
    return (lambda x: _log1p_single(x)) if x == types.float32 else (lambda x: math.log1p(x))


@compiled(fastmath=_CONTRACT)
def _exponentials(row: Float[np.ndarray, " columns"], top: float) -> None:
    for column in range(len(row)):
        row[column] = _exp(row[column] - top)


@compiled(fastmath=_LOOSE)
def _sum(row: Float[np.ndarray, " columns"]) -> float:
    total = row.dtype.type(0)
    for column in range(len(row)):
        total += row[column]
    return total


@compiled(parallel=True)
def exponential_sums(
    scores: Float[np.ndarray, "queries columns"],
    top: Float[np.ndarray, " queries"],
    sums: Float[np.ndarray, " queries"],
) -> None:
    """sums = row sums of exp(scores - top), with `top` at least the largest score. The tile is used up."""
    for query in prange(len(scores)):
        row = scores[query]
        _exponentials(row, top[query])
        sums[query] = _sum(row)


@compiled(parallel=True, fastmath=_CONTRACT)
def softmax(
    scores: Float[np.ndarray, "queries columns"],
    log_total: Float[np.ndarray, " queries"],
    factor: Float[np.ndarray, " queries"],
) -> None:
    """scores = factor * exp(scores - log_total), in place."""
    for query in prange(len(scores)):
        shift, weight = log_total[query], factor[query]
        for column in range(scores.shape[1]):
            scores[query, column] = weight * _exp(scores[query, column] - shift)


@compiled(fastmath=_CONTRACT)
def _sigmoid_row(scores: Any, weight: Any, softplus: Any) -> None:
    zero, one = scores.dtype.type(0), scores.dtype.type(1)
    for column in range(len(scores)):
        score = scores[column]
        small = _exp(-abs(score))
        softplus[column] = max(score, zero) + _log1p(small)
        scores[column] = weight * (one if score >= 0 else small) / (one + small)


@compiled(parallel=True)
def sigmoid(
    scores: Float[np.ndarray, "queries columns"],
    factor: Float[np.ndarray, " queries"],
    softplus_sums: Float[np.ndarray, " queries"],
) -> None:
    """Adds the row sums of softplus(scores) to `softplus_sums`; then scores = factor * sigmoid(scores), in place."""
    for query in prange(len(scores)):
        softplus = np.empty(scores.shape[1], scores.dtype)
        _sigmoid_row(scores[query], factor[query], softplus)
        softplus_sums[query] += _sum(softplus)
