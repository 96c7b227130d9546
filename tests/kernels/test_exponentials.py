"""The compiled exponentials equal numpy's in float64."""

import numpy as np
import pytest

from corollary.kernels import exponentials
from tests.reference import exponentials as plain


def scores(dtype, shape=(6, 1003)):
    """From far below what float32's exp can hold to far above what matters."""
    return (np.random.default_rng(0).normal(size=shape) * 30).astype(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_a_sum_of_exponentials(dtype, tolerance):
    """Relative to the largest score, as a running log-sum-exp wants it."""
    z = scores(dtype)
    top, sums = z.max(1), np.empty(len(z), dtype)
    expected = plain.exponential_sums(z, top)
    exponentials.exponential_sums(z, top, sums)
    np.testing.assert_allclose(sums, expected, rtol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 3e-7), (np.float64, 1e-14)])
def test_softmax_in_place(dtype, tolerance):
    """Small probabilities have the relative error of large ones, down to 1e-37 in float32."""
    z = scores(dtype)
    total, factor = z.max(1) + 1, np.linspace(0.1, 2, len(z)).astype(dtype)
    expected = plain.softmax(z, total.astype(np.float64), factor)
    exponentials.softmax(z, total, factor)
    inside = expected > 1e-36
    np.testing.assert_allclose(z[inside], expected[inside], rtol=20 * tolerance)
    assert z[~inside].max(initial=0) < 1e-35


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 4e-7), (np.float64, 1e-14)])
def test_sigmoid_in_place_and_softplus_sums(dtype, tolerance):
    """Both from one exponential; what is there is added to."""
    z = scores(dtype)
    factor, sums = np.linspace(0.1, 2, len(z)).astype(dtype), np.ones(len(z), dtype)
    expected_sums, expected = plain.sigmoid(z, factor)
    exponentials.sigmoid(z, factor, sums)
    np.testing.assert_allclose(sums, 1 + expected_sums, rtol=tolerance)
    np.testing.assert_allclose(z, expected, rtol=tolerance, atol=1e-37)


@pytest.mark.parametrize("score", [-1e30, -88.0, -1e-6, 0.0, 1e-6, 88.0, 1e30])
def test_softplus_of_extreme_scores(score):
    """max(z, 0) + log1p(exp(-|z|)) with a small relative error at both ends."""
    z, sums = np.array([[score]], np.float32), np.zeros(1, np.float32)
    exponentials.sigmoid(z, np.ones(1, np.float32), sums)
    np.testing.assert_allclose(sums[0], np.logaddexp(0, np.float64(score)), rtol=1e-6, atol=2e-38)


def test_a_broken_number_stays_broken():
    """NaN in a row is NaN in its sums: the loss has to see it."""
    z = np.array([[0.0, np.nan], [0.0, 1.0]], np.float32)
    top, sums = np.ones(2, np.float32), np.zeros(2, np.float32)
    exponentials.exponential_sums(z.copy(), top, sums)
    assert list(np.isnan(sums)) == [True, False]
    exponentials.sigmoid(z, top, sums := np.zeros(2, np.float32))
    assert list(np.isnan(sums)) == [True, False]
