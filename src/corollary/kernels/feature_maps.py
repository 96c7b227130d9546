"""Batch norm, ReLU and channel dropout of feature maps in two passes over memory, forward and backward.

Every map of every example is one row of `maps` [rows, pixels], rows = batch * channels. A row's sums run in order,
so results do not depend on the number of threads. Plain twin: tests/reference/feature_maps.py.
"""

import numpy as np
from jaxtyping import Float
from numba import prange

from corollary.kernels import compiled

_LOOSE = {"reassoc", "contract", "nsz"}  # lets sums use vector registers; still the same bytes on every call


@compiled(parallel=True, fastmath=_LOOSE)
def row_sums(maps: Float[np.ndarray, "rows pixels"]) -> Float[np.ndarray, " rows"]:
    """Sum of each row, in float64."""
    sums = np.empty(len(maps), np.float64)
    for row in prange(len(maps)):
        total = 0.0
        for pixel in range(maps.shape[1]):
            total += maps[row, pixel]
        sums[row] = total
    return sums


@compiled(parallel=True, fastmath=_LOOSE)
def row_squares(
    maps: Float[np.ndarray, "rows pixels"], centre: Float[np.ndarray, " channels"]
) -> Float[np.ndarray, " rows"]:
    """Sum of squared distances of each row from its channel's centre, in float64."""
    sums = np.empty(len(maps), np.float64)
    for row in prange(len(maps)):
        total, middle = 0.0, centre[row % len(centre)]
        for pixel in range(maps.shape[1]):
            total += (maps[row, pixel] - middle) ** 2
        sums[row] = total
    return sums


@compiled(parallel=True, fastmath=_LOOSE)
def activate(
    maps: Float[np.ndarray, "rows pixels"],
    scale: Float[np.ndarray, " rows"],
    shift: Float[np.ndarray, " rows"],
    out: Float[np.ndarray, "rows pixels"],
) -> None:
    """out = max(scale * maps + shift, 0)."""
    for row in prange(len(maps)):
        factor, offset = scale[row], shift[row]
        for pixel in range(maps.shape[1]):
            out[row, pixel] = max(factor * maps[row, pixel] + offset, maps.dtype.type(0))


@compiled(parallel=True, fastmath=_LOOSE)
def mask_and_sum(
    gradient: Float[np.ndarray, "rows pixels"],
    activated: Float[np.ndarray, "rows pixels"],
    maps: Float[np.ndarray, "rows pixels"],
    centre: Float[np.ndarray, " channels"],
) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    """Zero `gradient` in place where the ReLU was closed; sums of it, and of it times the centred map, by row."""
    sums = np.empty(len(maps), np.float64)
    products = np.empty(len(maps), np.float64)
    for row in prange(len(maps)):
        total, product, middle = 0.0, 0.0, centre[row % len(centre)]
        for pixel in range(maps.shape[1]):
            value = gradient[row, pixel] if activated[row, pixel] > 0 else gradient.dtype.type(0)
            gradient[row, pixel] = value
            total += value
            product += value * (maps[row, pixel] - middle)
        sums[row] = total
        products[row] = product
    return sums, products


@compiled(parallel=True, fastmath=_LOOSE)
def combine(
    gradient: Float[np.ndarray, "rows pixels"],
    maps: Float[np.ndarray, "rows pixels"],
    of_gradient: Float[np.ndarray, " rows"],
    of_maps: Float[np.ndarray, " channels"],
    constant: Float[np.ndarray, " channels"],
) -> None:
    """gradient = of_gradient * gradient + of_maps * maps + constant, in place."""
    for row in prange(len(maps)):
        a, b, c = of_gradient[row], of_maps[row % len(of_maps)], constant[row % len(of_maps)]
        for pixel in range(maps.shape[1]):
            gradient[row, pixel] = a * gradient[row, pixel] + b * maps[row, pixel] + c
