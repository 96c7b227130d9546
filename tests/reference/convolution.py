"""Slow, obvious twin of `corollary.kernels.convolution`: patches cut out one by one, whole-array arithmetic."""

import numpy as np


def patches(images, height, width, kernel):
    """[batch, patches, taps] of images [batch, height * width]."""
    square = images.reshape(len(images), height, width)
    rows, columns = range(height - kernel + 1), range(width - kernel + 1)
    cut = [square[:, r : r + kernel, c : c + kernel].reshape(len(images), -1) for r in rows for c in columns]
    return np.stack(cut, 1)


def patch_moments(found):
    wide = found.astype(np.float64)
    return wide.sum(1), np.einsum("bpk,bpl->bkl", wide, wide)


def activate(found, filters, offset, keep):
    return np.maximum(np.einsum("bpk,ck->bcp", found, filters) + offset[:, None], 0) * keep[:, :, None]


def activate_backward(found, filters, keep, activated, gradient, height, width, kernel):
    passed = np.where(activated > 0, gradient * keep[:, :, None], 0)
    sent = np.einsum("bcp,ck->bpk", passed, filters)
    return passed, passed.sum(2), np.einsum("bcp,bpk->bck", passed, found), fold(sent, height, width, kernel)


def spread(found, matrix, constant, height, width, kernel):
    return fold(found @ matrix.T + constant, height, width, kernel)


def fold(sent, height, width, kernel):
    """What patches [batch, patches, taps] send to their pixels, summed."""
    out = np.zeros((len(sent), height, width), sent.dtype)
    columns = width - kernel + 1
    for patch in range(sent.shape[1]):
        r, c = divmod(patch, columns)
        out[:, r : r + kernel, c : c + kernel] += sent[:, patch].reshape(-1, kernel, kernel)
    return out.reshape(len(sent), -1)
