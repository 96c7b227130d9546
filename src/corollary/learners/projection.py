"""ConvE's wide part: convolution, batch norm, ReLU, map dropout, projection, with a backward of its own.

The feature maps of a batch are most of what plain autograd keeps (five copies of batch x features), and most of what
it makes afresh each step. Here the batch goes through in chunks of `CHUNK_ROWS` queries: one chunk's activated maps
and one chunk's gradient exist at a time when the maps are computed again in backward, the activated maps of the batch
beside them when they are kept. Both ways give the same bytes.

A convolution is linear in its patches, so its batch norm is known before any map exists: with the mean m and the
covariance S of the patches of the whole batch, filter w gives mean w.m + bias and variance w.S.w. That is exact, so
chunks do not change batch-norm statistics. Backward follows: with u = a w.(p - m) + beta, a = gamma / deviation, n
patches, g the gradient of u, T = sum g and V = sum g p (one number and one patch for each filter),

    d beta  = T                        d gamma = (w.V - w.m T) / deviation =: Q / deviation
    d w     = a (V - T m - Q S w / deviation^2)
    d patch = sum over filters of w a (g - T / n - Q w.(p - m) / (n deviation^2))

whose first term is a convolution backward and whose rest is one small matrix for all patches. The filter's bias
cancels: its gradient is zero. Equal to the plain layers in value and gradient (tests/learners/test_projection.py).
Source: the statistics are our own reading of Ioffe & Szegedy 2015; their backward, with sums in place of means.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from corollary.kernels import convolution
from corollary.losses.workspace import Workspace

CHUNK_ROWS = 128
"""Queries whose maps exist at a time; part of the result's rounding, so it depends on nothing."""


def project_features(
    image: Float[Tensor, "batch 1 height width"],
    filters: Float[Tensor, "channels 1 kernel kernel"],
    filter_bias: Float[Tensor, " channels"] | None,
    norm: nn.BatchNorm2d,
    keep: Float[Tensor, "batch channels"] | None,
    projection: Float[Tensor, "dim features"],
    projection_bias: Float[Tensor, " dim"],
    workspace: Workspace,
    *,
    recompute: bool = False,
) -> Float[Tensor, "batch dim"]:
    """Projection of relu(norm(conv(image))) * keep.

    Args:
        keep: scaled dropout mask of whole maps, not negative; None for no dropout.
        recompute: compute activated maps again in backward in place of keeping them.

    Memory in training: 2 * CHUNK_ROWS * features entries, plus batch * features without `recompute`. Evaluation under
    `no_grad`: CHUNK_ROWS * features. Evaluation that records gradients: plain autograd, five times batch * features.
    """
    if not norm.training and torch.is_grad_enabled():
        x = norm(F.conv2d(image, filters, filter_bias)).relu()
        x = x if keep is None else x * keep[:, :, None, None]
        return F.linear(x.flatten(1), projection, projection_bias)
    return _Projected.apply(
        image, filters, filter_bias, norm.weight, norm.bias, projection, projection_bias, keep, norm, workspace,
        recompute,
    )  # fmt: skip


@dataclass(frozen=True)
class _Statistics:
    """Of all patches of a batch, in float64: number, mean, covariance."""

    count: int
    mean: Float[Tensor, " taps"]
    covariance: Float[Tensor, "taps taps"]


class _Projected(torch.autograd.Function):
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
        workspace: Workspace,
        recompute: bool,
    ) -> Tensor:
        maps = Maps(image, filters.shape[2])
        w = filters.flatten(1).double()
        bias = 0.0 if filter_bias is None else filter_bias.double()
        if norm.training:
            statistics = maps.statistics()
            mean = w @ statistics.mean + bias
            variance = ((w @ statistics.covariance) * w).sum(1)
            _track(norm, mean, variance, statistics.count)
        else:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            mean, variance = norm.running_mean.double(), norm.running_var.double()
        rate = (variance + norm.eps).rsqrt()
        scale = rate if gamma is None else rate * gamma.double()
        offset = (bias - mean) * scale + (0.0 if beta is None else beta.double())
        scaled = (w * scale[:, None]).to(image.dtype)
        keep = image.new_ones(len(image), len(w)) if keep is None else keep
        training, shape = norm.training, (len(image), len(w), maps.patches)
        kept = workspace.lend("activated maps", image, *shape) if training and not recompute else None
        out = image.new_empty(len(image), len(projection))
        offset = offset.to(image.dtype)
        for rows in maps.chunks():
            into = kept[rows] if kept is not None else _chunk(workspace, "chunk of maps", image, rows, shape)
            maps.activate(rows, scaled, offset, keep[rows], into)
            workspace.product(into.flatten(1), projection.T, out[rows], add=projection_bias)
        if training:
            ctx.save_for_backward(image, filters, projection, keep)
            ctx.maps, ctx.statistics, ctx.kept = maps, statistics, kept
            ctx.w, ctx.rate, ctx.scale, ctx.scaled, ctx.offset = w, rate, scale, scaled, offset
            ctx.workspace, ctx.has_bias, ctx.affine = workspace, filter_bias is not None, gamma is not None
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        image, filters, projection, keep = ctx.saved_tensors
        maps, workspace, kept, w = ctx.maps, ctx.workspace, ctx.kept, ctx.w
        ctx.maps = ctx.kept = None
        gradient = gradient.contiguous()
        shape = (len(image), len(w), maps.patches)
        projection_gradient = torch.empty_like(projection)
        image_gradient = image.new_empty(len(image), image[0].numel())
        by_tap, by_channel = image.new_empty(len(image), *w.shape), image.new_empty(len(image), len(w))
        for rows in maps.chunks():
            if kept is None:
                activated = _chunk(workspace, "chunk of maps", image, rows, shape)
                maps.activate(rows, ctx.scaled, ctx.offset, keep[rows], activated)
            else:
                activated = kept[rows]
            add = projection_gradient if rows.start else None
            workspace.product(gradient[rows].T, activated.flatten(1), projection_gradient, add=add)
            flowing = _chunk(workspace, "gradient of maps", image, rows, shape)
            workspace.product(gradient[rows], projection, flowing.flatten(1))
            maps.activate_backward(
                rows, ctx.scaled, keep[rows], activated, flowing, image_gradient, by_tap, by_channel
            )
        if kept is not None:
            workspace.restore("activated maps", kept)
        statistics, rate, scale = ctx.statistics, ctx.rate, ctx.scale
        v, t = by_tap.double().sum(0), by_channel.double().sum(0)
        q = (w * v).sum(1) - (w @ statistics.mean) * t
        by_covariance = (q * rate**2)[:, None] * (w @ statistics.covariance)
        of_w = scale[:, None] * (v - t[:, None] * statistics.mean - by_covariance)
        weighted = (scale / statistics.count)[:, None] * w
        matrix = -(weighted * (q * rate**2)[:, None]).T @ w
        constant = -(weighted.T @ t) - matrix @ statistics.mean
        maps.spread(matrix.to(image.dtype), constant.to(image.dtype), image_gradient)
        affine = ((q * rate).to(image.dtype), t.to(image.dtype)) if ctx.affine else (None, None)
        return (
            image_gradient.view(image.shape),
            of_w.reshape(filters.shape).to(filters.dtype),
            filters.new_zeros(len(filters)) if ctx.has_bias else None,
            *affine,
            projection_gradient,
            gradient.sum(0),
            None, None, None, None,
        )  # fmt: skip


def _chunk(
    workspace: Workspace, name: str, like: Tensor, rows: slice, shape: tuple[int, ...]
) -> Float[Tensor, "chunk channels patches"]:
    return workspace.take(name, like, rows.stop - rows.start, *shape[1:])


class Maps:
    """The passes over a batch's images: compiled on the CPU, tensor code elsewhere."""

    def __init__(self, image: Float[Tensor, "batch 1 height width"], kernel: int) -> None:
        height, width = image.shape[2:]
        self.image, self.kernel = image.detach().contiguous(), kernel
        self.pixels = self.image.view(len(image), -1)
        self.width, self.columns = width, width - kernel + 1
        self.patches = (height - kernel + 1) * self.columns
        self.taps = convolution.taps(width, kernel)
        self.compiled = image.device.type == "cpu"

    def select(self, rows: Int[Tensor, " some"]) -> "Maps":
        """The same passes over some of the images."""
        return Maps(self.image[rows], self.kernel)

    def chunks(self) -> list[slice]:
        batch = len(self.image)
        return [slice(start, min(start + CHUNK_ROWS, batch)) for start in range(0, batch, CHUNK_ROWS)]

    def statistics(self) -> _Statistics:
        """Sums image by image, so that chunks and threads change nothing."""
        count = len(self.image) * self.patches
        if self.compiled:
            found = convolution.patch_moments(self.pixels.numpy(), self.taps, self.width, self.columns)
            sums, squares = (torch.from_numpy(part).sum(0) for part in found)
        else:
            patches = F.unfold(self.image, self.kernel).double()
            sums, squares = patches.sum((0, 2)), (patches @ patches.mT).sum(0)
        mean = sums / count
        return _Statistics(count, mean, squares / count - mean[:, None] * mean)

    def activate(self, rows: slice, filters: Tensor, offset: Tensor, keep: Tensor, out: Tensor) -> None:
        """out = max(filters * patch + offset, 0) * keep."""
        if self.compiled:
            convolution.activate(
                self.pixels[rows].numpy(), self.taps, self.width, self.columns, filters.numpy(), offset.numpy(),
                keep.numpy(), out.numpy(),
            )  # fmt: skip
            return
        found = F.conv2d(self.image[rows], self._as_filters(filters), offset).relu_()
        out.copy_(found.mul_(keep[:, :, None, None]).flatten(2))

    def activate_backward(
        self,
        rows: slice,
        filters: Tensor,
        keep: Tensor,
        activated: Tensor,
        flowing: Tensor,
        image_gradient: Tensor,
        by_tap: Tensor,
        by_channel: Tensor,
    ) -> None:
        """See `corollary.kernels.convolution.activate_backward`."""
        if self.compiled:
            convolution.activate_backward(
                self.pixels[rows].numpy(), self.taps, self.width, self.columns, filters.numpy(), keep.numpy(),
                activated.numpy(), flowing.numpy(), image_gradient[rows].numpy(), by_tap[rows].numpy(),
                by_channel[rows].numpy(),
            )  # fmt: skip
            return
        passed = flowing.mul_(activated > 0).mul_(keep[:, :, None])
        by_channel[rows] = passed.sum(2)
        by_tap[rows] = passed @ F.unfold(self.image[rows], self.kernel).mT
        maps = passed.unflatten(2, (-1, self.columns))
        image_gradient[rows] = F.conv_transpose2d(maps, self._as_filters(filters)).flatten(1)

    def spread(self, matrix: Tensor, constant: Tensor, out: Tensor) -> None:
        """Adds matrix @ patch + constant to the pixels of every patch."""
        if self.compiled:
            convolution.spread(
                self.pixels.numpy(), self.taps, self.width, self.columns, matrix.numpy(), constant.numpy(),
                out.numpy(),
            )  # fmt: skip
            return
        added = matrix @ F.unfold(self.image, self.kernel) + constant[:, None]
        out += F.fold(added, self.image.shape[2:], self.kernel).flatten(1)

    def _as_filters(self, filters: Float[Tensor, "channels taps"]) -> Tensor:
        return filters.unflatten(1, (1, self.kernel, self.kernel))


def _track(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move the running statistics as torch does: the variance is the unbiased one."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    unbiased = variance * count / max(count - 1, 1)
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
    norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), norm.momentum)
