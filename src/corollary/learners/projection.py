"""ConvE's wide part with a backward of its own: convolution, batch norm, ReLU, map dropout, projection.

Plain autograd keeps five copies of the feature maps and makes every one afresh each step, and on a CPU the page
faults of fresh memory cost more than the arithmetic. Here two copies exist, in buffers that are used again.
Equal to the plain layers in value and gradient (tests/learners/test_projection.py).
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from corollary.kernels import feature_maps
from corollary.losses.one_to_all import Scratch


def project_features(
    image: Float[Tensor, "batch 1 height width"],
    filters: Float[Tensor, "channels 1 kernel kernel"],
    filter_bias: Float[Tensor, " channels"] | None,
    norm: nn.BatchNorm2d,
    keep: Float[Tensor, "batch channels"] | None,
    projection: Float[Tensor, "dim features"],
    projection_bias: Float[Tensor, " dim"],
    scratch: Scratch,
) -> Float[Tensor, "batch dim"]:
    """Projection of relu(norm(conv(image))) * keep.

    Args:
        keep: scaled dropout mask of whole maps, not negative; None for no dropout.

    Memory: 2 * batch * features entries kept from forward to backward, one more during backward.
    """
    if norm.training and image.device.type == "cpu":
        return _Projected.apply(
            image,
            filters,
            filter_bias,
            norm.weight,
            norm.bias,
            projection,
            projection_bias,
            keep,
            norm,
            scratch,
        )
    x = norm(F.conv2d(image, filters, filter_bias)).relu()
    if keep is not None:
        x = x * keep[:, :, None, None]
    return F.linear(x.flatten(1), projection, projection_bias)


class _Projected(torch.autograd.Function):
    """Training mode on the CPU. `u = scale * maps + shift` holds batch norm and dropout, since `keep` >= 0."""

    @staticmethod
    def forward(
        ctx: Any,
        image: Tensor,
        filters: Tensor,
        filter_bias: Tensor | None,
        gamma: Tensor | None,
        beta: Tensor | None,
        projection: Tensor,
        projection_bias: Tensor,
        keep: Tensor | None,
        norm: nn.BatchNorm2d,
        scratch: Scratch,
    ) -> Tensor:
        maps = F.conv2d(image, filters, filter_bias).contiguous()
        batch, channels = maps.shape[:2]
        rows = maps.view(batch * channels, -1)
        mean, variance = _statistics(rows, channels)
        _track(norm, mean, variance, rows.numel() // channels)
        rate = 1 / np.sqrt(variance + norm.eps)
        weight = np.ones(channels) if gamma is None else gamma.detach().double().numpy()
        offset = np.zeros(channels) if beta is None else beta.detach().double().numpy()
        kept = np.ones((batch, channels)) if keep is None else keep.double().numpy()
        scale = kept * (weight * rate)
        shift = kept * (offset - weight * rate * mean)
        activated = scratch.lend("activated maps", maps, *rows.shape)
        precise = rows.numpy().dtype.type
        feature_maps.activate(
            rows.numpy(), scale.ravel().astype(precise), shift.ravel().astype(precise), activated.numpy()
        )
        ctx.save_for_backward(image, filters, projection)
        ctx.rest = rows, activated, mean, rate, weight, kept, scratch
        ctx.has_bias, ctx.affine, ctx.maps_shape = filter_bias is not None, gamma is not None, maps.shape
        return F.linear(activated.view(batch, -1), projection, projection_bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        image, filters, projection = ctx.saved_tensors
        rows, activated, mean, rate, weight, kept, scratch = ctx.rest
        ctx.rest = None
        batch, channels = ctx.maps_shape[:2]
        gradient = gradient.contiguous()
        projection_gradient = gradient.T @ activated.view(batch, -1)
        flowing = scratch.lend("gradient of maps", rows, *rows.shape)
        torch.mm(gradient, projection, out=flowing.view(batch, -1))
        sums, products = feature_maps.mask_and_sum(
            flowing.numpy(), activated.numpy(), rows.numpy(), mean.astype(rows.numpy().dtype)
        )
        beta_gradient = (kept * sums.reshape(batch, channels)).sum(0)
        gamma_gradient = (kept * products.reshape(batch, channels)).sum(0) * rate
        count, precise = rows.numel() // channels, rows.numpy().dtype.type
        of_maps = -weight * rate * rate * gamma_gradient / count
        constant = -weight * rate * beta_gradient / count - of_maps * mean
        feature_maps.combine(
            flowing.numpy(), rows.numpy(), (kept * (weight * rate)).ravel().astype(precise),
            of_maps.astype(precise), constant.astype(precise),
        )  # fmt: skip
        image_gradient, filter_gradient, bias_gradient = torch.ops.aten.convolution_backward(
            flowing.view(ctx.maps_shape), image, filters, [len(filters)] if ctx.has_bias else None,
            [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True, True, ctx.has_bias],
        )  # fmt: skip
        scratch.restore("gradient of maps", flowing)
        scratch.restore("activated maps", activated)
        affine = [
            torch.from_numpy(g).to(gradient.dtype) if ctx.affine else None
            for g in (gamma_gradient, beta_gradient)
        ]
        return (
            image_gradient, filter_gradient, bias_gradient if ctx.has_bias else None, *affine,
            projection_gradient, gradient.sum(0), None, None, None,
        )  # fmt: skip


def _statistics(rows: Tensor, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of each channel over batch and pixels, in float64."""
    count = rows.numel() // channels
    mean = feature_maps.row_sums(rows.numpy()).reshape(-1, channels).sum(0) / count
    centre = mean.astype(rows.numpy().dtype)
    squares = feature_maps.row_squares(rows.numpy(), centre).reshape(-1, channels).sum(0)
    return mean, squares / count - (centre - mean) ** 2


def _track(norm: nn.BatchNorm2d, mean: np.ndarray, variance: np.ndarray, count: int) -> None:
    """Move the running statistics as torch does: the variance is the unbiased one."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    unbiased = variance * count / max(count - 1, 1)
    norm.running_mean.lerp_(torch.from_numpy(mean).to(norm.running_mean.dtype), norm.momentum)
    norm.running_var.lerp_(torch.from_numpy(unbiased).to(norm.running_var.dtype), norm.momentum)
