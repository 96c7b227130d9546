"""The compiled passes over feature maps equal whole-array arithmetic."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from corollary.kernels import feature_maps
from tests.reference import feature_maps as plain


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-13)])
@pytest.mark.parametrize("shape", [(12, 35), (4, 1), (8, 64)])
def test_every_pass_equals_its_twin(dtype, tolerance, shape):
    """Sums are float64 whatever goes in; entries have one rounding of the type they are stored in."""
    rng = np.random.default_rng(0)
    maps, gradient = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    scale, shift = (rng.normal(size=shape[0]).astype(dtype) for _ in range(2))
    centre, of_maps, constant = (rng.normal(size=4).astype(dtype) for _ in range(3))
    close = {"rtol": tolerance, "atol": tolerance}

    np.testing.assert_allclose(feature_maps.row_sums(maps), plain.row_sums(maps), **close)
    np.testing.assert_allclose(
        feature_maps.row_squares(maps, centre), plain.row_squares(maps, centre), **close
    )

    activated = np.full_like(maps, np.nan)
    feature_maps.activate(maps, scale, shift, activated)
    np.testing.assert_allclose(activated, plain.activate(maps, scale, shift), **close)

    expected = plain.mask_and_sum(gradient, activated, maps, centre)
    sums, products = feature_maps.mask_and_sum(gradient, activated, maps, centre)
    assert sums.dtype == products.dtype == np.float64
    assert np.array_equal(gradient, expected[0])
    np.testing.assert_allclose(sums, expected[1], **close)
    np.testing.assert_allclose(products, expected[2], rtol=10 * tolerance, atol=10 * tolerance)

    expected = plain.combine(gradient, maps, scale, of_maps, constant)
    feature_maps.combine(gradient, maps, scale, of_maps, constant)
    np.testing.assert_allclose(gradient, expected, **close)


def test_a_broken_number_stays_broken():
    """The ReLU does not turn NaN into zero: the loss has to see it."""
    maps, ones = np.array([[1.0, np.nan, -1.0]], np.float32), np.ones(1, np.float32)
    out = np.zeros_like(maps)
    feature_maps.activate(maps, ones, 0 * ones, out)
    assert np.array_equal(out, [[1.0, np.nan, 0.0]], equal_nan=True)


def sums() -> str:
    """Checksum of everything that is summed."""
    rng = np.random.default_rng(1)
    maps, centre = rng.normal(size=(64, 99)).astype(np.float32), rng.normal(size=8).astype(np.float32)
    parts = [feature_maps.row_sums(maps), feature_maps.row_squares(maps, centre)]
    parts += feature_maps.mask_and_sum(maps[::-1].copy(), maps, maps, centre)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def test_threads_change_no_byte():
    """Every row is summed in order by one thread, so three threads give what one gives."""
    script = "import numba; numba.set_num_threads(3); from tests.kernels.test_feature_maps import sums; print(sums())"
    environment = {**os.environ, "NUMBA_NUM_THREADS": "3"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == sums()
