"""The compiled passes over images equal patches cut out one by one."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from corollary.kernels import convolution
from tests.reference import convolution as plain

HEIGHT, WIDTH, CHANNELS, BATCH = 6, 7, 5, 4


def inputs(kernel, dtype):
    rng = np.random.default_rng(0)
    places = (HEIGHT - kernel + 1) * (WIDTH - kernel + 1)
    shapes = {
        "images": (BATCH, HEIGHT * WIDTH), "filters": (CHANNELS, kernel**2), "offset": (CHANNELS,),
        "gradient": (BATCH, CHANNELS, places),
    }  # fmt: skip
    made = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    made["keep"] = (2 * (rng.random((BATCH, CHANNELS)) < 0.5)).astype(dtype)
    return made, convolution.taps(WIDTH, kernel), WIDTH - kernel + 1


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-13)])
def test_every_pass_equals_its_twin(dtype, tolerance, kernel):
    """Statistics, activated maps, every gradient; float32 has the rounding of a few hundred sums."""
    made, taps, columns = inputs(kernel, dtype)
    images, filters, keep = made["images"], made["filters"], made["keep"]
    found = plain.patches(images, HEIGHT, WIDTH, kernel)
    close = {"rtol": tolerance, "atol": tolerance}

    sums, squares = convolution.patch_moments(images, taps, WIDTH, columns)
    assert sums.dtype == squares.dtype == np.float64
    for ours, theirs in zip((sums, squares), plain.patch_moments(found), strict=True):
        np.testing.assert_allclose(ours, theirs, **close)

    activated = np.full_like(made["gradient"], np.nan)
    convolution.activate(images, taps, WIDTH, columns, filters, made["offset"], keep, activated)
    np.testing.assert_allclose(activated, plain.activate(found, filters, made["offset"], keep), **close)

    expected = plain.activate_backward(
        found, filters, keep, activated, made["gradient"], HEIGHT, WIDTH, kernel
    )
    back, by_tap, by_channel = (
        np.full_like(images, np.nan),
        np.empty((BATCH, *filters.shape), dtype),
        np.empty_like(keep),
    )
    passed = made["gradient"].copy()
    convolution.activate_backward(
        images, taps, WIDTH, columns, filters, keep, activated, passed, back, by_tap, by_channel
    )
    for ours, theirs in zip((passed, by_channel, by_tap, back), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, **close)

    matrix, constant = (
        np.random.default_rng(1).normal(size=s).astype(dtype) for s in ((kernel**2,) * 2, kernel**2)
    )
    out = images.copy()
    convolution.spread(images, taps, WIDTH, columns, matrix, constant, out)
    expected = images + plain.spread(found, matrix, constant, HEIGHT, WIDTH, kernel)
    np.testing.assert_allclose(out, expected, **close)


def test_a_broken_number_stays_broken():
    """The ReLU does not turn NaN into zero: the loss has to see it."""
    image, one = np.array([[1.0, np.nan, -1.0, 2.0]], np.float32), np.ones((1, 1), np.float32)
    out = np.zeros((1, 1, 4), np.float32)
    convolution.activate(image, convolution.taps(2, 1), 2, 2, one, np.zeros(1, np.float32), one, out)
    assert np.array_equal(out[0, 0], [1.0, np.nan, 0.0, 2.0], equal_nan=True)


def checksum() -> str:
    """Of everything that is summed."""
    made, taps, columns = inputs(3, np.float32)
    images, filters, gradient = made["images"], made["filters"], made["gradient"]
    parts = [*convolution.patch_moments(images, taps, WIDTH, columns)]
    back, by_tap, by_channel = (
        np.empty_like(images),
        np.empty((BATCH, *filters.shape), np.float32),
        made["keep"].copy(),
    )
    convolution.activate_backward(
        images, taps, WIDTH, columns, filters, made["keep"], gradient + 1, gradient, back, by_tap, by_channel
    )
    return hashlib.sha256(b"".join(part.tobytes() for part in (*parts, back, by_tap, by_channel))).hexdigest()


def test_threads_change_no_byte():
    """Every image is summed in order by one thread, so three threads give what one gives."""
    script = "import numba; numba.set_num_threads(3); from tests.kernels.test_convolution import checksum; print(checksum())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "NUMBA_NUM_THREADS": "3"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == checksum()
