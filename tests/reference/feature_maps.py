"""Slow, obvious twin of `corollary.kernels.feature_maps`: whole arrays, float64 sums, no loop."""

import numpy as np


def row_sums(maps):
    return maps.astype(np.float64).sum(1)


def row_squares(maps, centre):
    return ((maps.astype(np.float64) - _by_row(centre, maps)) ** 2).sum(1)


def activate(maps, scale, shift):
    return np.maximum(scale[:, None] * maps + shift[:, None], 0)


def mask_and_sum(gradient, activated, maps, centre):
    """The gradient with zeros where the ReLU was closed, its sums, and those of it times the centred map."""
    open_gradient = np.where(activated > 0, gradient, 0)
    centred = maps.astype(np.float64) - _by_row(centre, maps)
    return open_gradient, open_gradient.sum(1, dtype=np.float64), (open_gradient * centred).sum(1)


def combine(gradient, maps, of_gradient, of_maps, constant):
    return of_gradient[:, None] * gradient + _by_row(of_maps, maps) * maps + _by_row(constant, maps)


def _by_row(of_channel, maps):
    """A value per channel as a column over rows: row i belongs to channel i modulo their number."""
    return of_channel[np.arange(len(maps)) % len(of_channel)][:, None]
