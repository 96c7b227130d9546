"""A convolution of one-channel images, batch norm, ReLU and map dropout, in one pass over memory each way.

A convolution's output is linear in its patches, so batch norm needs no output to know its statistics: the mean and
the covariance of the patches, k*k and k*k x k*k numbers, give them for every filter. What is left is one pass that
writes the activated maps and one that reads their gradient; the maps before activation are never stored.

Images are rows of pixels. `taps` are the places of a patch's pixels after that of its first, so a patch that begins at
pixel `base` is `image[base + taps[k]]`. Inside, a map has the width of the image: every patch of a row and the few
places where none begins, which are zero or not looked at. So a tap is a shift, and loops run over whole images.
Every image is summed in order by one thread: results do not depend on the number of threads.
Plain twin: tests/reference/convolution.py.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from numba import prange

from corollary.kernels import compiled

Taps = tuple[np.uint64, ...]
"""Unsigned, as are the places they are added to: Python's negative indices would cost thirty times the arithmetic."""

_LOOSE = {"reassoc", "contract", "nsz"}  # lets sums use vector registers; still the same bytes on every call


def taps(width: int, kernel: int) -> Taps:
    """Places of a square patch's pixels after that of its first, in an image of this width."""
    return tuple(np.uint64(row * width + column) for row in range(kernel) for column in range(kernel))


@compiled(fastmath=_LOOSE)
def _dot(one: Any, other: Any) -> Any:
    total = one.dtype.type(0)
    for i in range(len(one)):
        total += one[i] * other[i]
    return total


@compiled(fastmath=_LOOSE)
def _sum(values: Any) -> Any:
    total = values.dtype.type(0)
    for i in range(len(values)):
        total += values[i]
    return total


@compiled()
def _widen(compact: Any, columns: int, width: int, wide: Any) -> None:
    """A map without gaps, put at the places where its patches begin."""
    for row in range(len(compact) // columns):
        for column in range(columns):
            wide[row * width + column] = compact[row * columns + column]


@compiled()
def _begins(span: Any, width: Any, columns: Any, like: Any) -> Any:
    """1 at the places where a patch begins, 0 at the few between them."""
    found = np.zeros(span, like.dtype)
    for base in range(span):
        found[base] = base % width < columns
    return found


@compiled(fastmath=_LOOSE)
def _choose(pixels: Any, begins: Any, chosen: Any) -> None:
    for base in range(len(begins)):
        chosen[base] = begins[base] * pixels[base]


@compiled(parallel=True)
def patch_moments(
    images: Float[np.ndarray, "batch pixels"], taps: Taps, width: int, columns: int
) -> tuple[Float[np.ndarray, "batch taps"], Float[np.ndarray, "batch taps taps"]]:
    """For each image the sum of its patches, and the sum of each patch times itself, in float64."""
    sums = np.zeros((len(images), len(taps)), np.float64)
    squares = np.zeros((len(images), len(taps), len(taps)), np.float64)
    begins = _begins(images.shape[1] - int(taps[len(taps) - 1]), width, columns, images[0])
    for image in prange(len(images)):
        pixels, chosen = images[image], np.empty_like(begins)
        for one in range(len(taps)):
            _choose(pixels[int(taps[one]) :], begins, chosen)
            sums[image, one] = _sum(chosen)
            for other in range(one, len(taps)):
                product = _dot(chosen, pixels[int(taps[other]) :])
                squares[image, one, other] = squares[image, other, one] = product
    return sums, squares


@compiled(fastmath=_LOOSE)
def _filter(pixels: Any, taps: Any, weights: Any, offset: Any, factor: Any, wide: Any) -> None:
    for base in range(np.uint64(len(wide))):
        value = offset
        for tap in range(len(taps)):
            value += pixels[base + taps[tap]] * weights[tap]
        wide[base] = max(value, wide.dtype.type(0)) * factor


@compiled(parallel=True)
def activate(
    images: Float[np.ndarray, "batch pixels"],
    taps: Taps,
    width: int,
    columns: int,
    filters: Float[np.ndarray, "channels taps"],
    offset: Float[np.ndarray, " channels"],
    keep: Float[np.ndarray, "batch channels"],
    out: Float[np.ndarray, "batch channels patches"],
) -> None:
    """out = max(filters * patch + offset, 0) * keep."""
    rows = out.shape[2] // columns
    for image in prange(len(images)):
        wide = np.empty(images.shape[1] - int(taps[len(taps) - 1]), images.dtype)
        for channel in range(out.shape[1]):
            _filter(images[image], taps, filters[channel], offset[channel], keep[image, channel], wide)
            for row in range(rows):
                for column in range(columns):
                    out[image, channel, row * columns + column] = wide[row * width + column]


@compiled(fastmath=_LOOSE)
def _pass(gradient: Any, activated: Any, factor: Any) -> None:
    for patch in range(len(gradient)):
        value = gradient[patch] * factor
        gradient[patch] = value if activated[patch] > 0 else gradient.dtype.type(0)


@compiled(fastmath=_LOOSE)
def _carry_back(wide: Any, taps: Any, weights: Any, out: Any) -> None:
    """Adds to every pixel what the patches that contain it send; `wide` begins with as many zeros as the last tap."""
    shift = taps[len(taps) - 1]
    for pixel in range(np.uint64(len(out))):
        value = out[pixel]
        for tap in range(len(taps)):
            value += wide[shift + pixel - taps[tap]] * weights[tap]
        out[pixel] = value


@compiled(parallel=True)
def activate_backward(
    images: Float[np.ndarray, "batch pixels"],
    taps: Taps,
    width: int,
    columns: int,
    filters: Float[np.ndarray, "channels taps"],
    keep: Float[np.ndarray, "batch channels"],
    activated: Float[np.ndarray, "batch channels patches"],
    gradient: Float[np.ndarray, "batch channels patches"],
    image_gradient: Float[np.ndarray, "batch pixels"],
    by_tap: Float[np.ndarray, "batch channels taps"],
    by_channel: Float[np.ndarray, "batch channels"],
) -> None:
    """The gradient that passes ReLU and dropout, g = keep * gradient where `activated` > 0, put to its three uses.

    Writes, for each image, `by_channel` = sum of g over patches, `by_tap` = sum of g times the patch, and
    `image_gradient` = g carried back through `filters` to the pixels. `gradient` becomes g.
    """
    shift = int(taps[len(taps) - 1])
    span = images.shape[1] - shift
    for image in prange(len(images)):
        wide = np.zeros(images.shape[1] + shift, gradient.dtype)
        image_gradient[image] = 0
        for channel in range(gradient.shape[1]):
            passed = gradient[image, channel]
            _pass(passed, activated[image, channel], keep[image, channel])
            by_channel[image, channel] = _sum(passed)
            _widen(passed, columns, width, wide[shift:])
            for tap in range(len(taps)):
                by_tap[image, channel, tap] = _dot(
                    wide[shift : shift + span], images[image, int(taps[tap]) :]
                )
            _carry_back(wide, taps, filters[channel], image_gradient[image])


@compiled(fastmath=_LOOSE)
def _mix(pixels: Any, taps: Any, weights: Any, offset: Any, begins: Any, out: Any) -> None:
    for base in range(np.uint64(len(begins))):
        value = offset
        for tap in range(len(taps)):
            value += pixels[base + taps[tap]] * weights[tap]
        out[base] += begins[base] * value


@compiled(parallel=True)
def spread(
    images: Float[np.ndarray, "batch pixels"],
    taps: Taps,
    width: int,
    columns: int,
    matrix: Float[np.ndarray, "taps taps"],
    constant: Float[np.ndarray, " taps"],
    out: Float[np.ndarray, "batch pixels"],
) -> None:
    """Adds matrix @ patch + constant to the pixels of every patch."""
    begins = _begins(images.shape[1] - int(taps[len(taps) - 1]), width, columns, images[0])
    for image in prange(len(images)):
        for tap in range(len(taps)):
            _mix(images[image], taps, matrix[tap], constant[tap], begins, out[image, int(taps[tap]) :])
