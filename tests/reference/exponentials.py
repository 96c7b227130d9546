"""Slow, obvious twin of `corollary.kernels.exponentials`: numpy's own functions in float64."""

import numpy as np


def exponential_sums(scores, top):
    return np.exp(scores.astype(np.float64) - top[:, None]).sum(1)


def softmax(scores, log_total, factor):
    return factor[:, None] * np.exp(scores.astype(np.float64) - log_total[:, None])


def sigmoid(scores, factor):
    """Softplus sums, and factor * sigmoid."""
    wide = scores.astype(np.float64)
    return np.logaddexp(0, wide).sum(1), factor[:, None] / (1 + np.exp(-wide))
