"""ConvE's wide part with its own backward equals the plain layers."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import grad
from torch.testing import assert_close

from corollary.learners.projection import project_features
from corollary.losses.one_to_all import Scratch


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dropout", [True, False])
def test_value_gradients_and_statistics_equal_plain_autograd(affine, bias, dropout):
    """Output, all gradients and running statistics, in float64, over two steps with the same buffers."""
    rng = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=rng, dtype=torch.float64).requires_grad_()

    filters, filter_bias = random(3, 1, 3, 3), random(3) if bias else None
    projection, projection_bias = random(4, 3 * 4 * 6), random(4)
    norm = nn.BatchNorm2d(3, affine=affine).double()
    if affine:
        norm.weight.data.copy_(torch.tensor([-1.0, 0.5, 2.0]))
        norm.bias.data.copy_(torch.tensor([0.1, -0.2, 0.3]))
    plain, scratch = copy.deepcopy(norm), Scratch()
    keep = (torch.rand(5, 3, generator=rng) < 0.7).double() / 0.7 if dropout else None
    for _ in range(2):
        image, weight = random(5, 1, 6, 8), torch.randn(5, 4, generator=rng, dtype=torch.float64)
        inputs = [image, filters, projection, projection_bias, *([filter_bias] if bias else [])]

        x = plain(F.conv2d(image, filters, filter_bias)).relu()
        x = x * keep[:, :, None, None] if dropout else x
        expected = F.linear(x.flatten(1), projection, projection_bias)
        actual = project_features(
            image, filters, filter_bias, norm, keep, projection, projection_bias, scratch
        )

        assert_close(actual, expected, rtol=0, atol=1e-12)
        mine, theirs = ([norm.weight, norm.bias], [plain.weight, plain.bias]) if affine else ([], [])
        assert_close(
            grad((actual * weight).sum(), inputs + mine),
            grad((expected * weight).sum(), inputs + theirs),
            rtol=1e-11,
            atol=1e-11,
        )
        assert_close(norm.state_dict(), plain.state_dict(), rtol=1e-12, atol=1e-12)


def test_two_forwards_before_a_backward_keep_apart():
    """Buffers that are still needed are not used again."""
    rng = torch.Generator().manual_seed(1)
    norm, scratch = nn.BatchNorm2d(2), Scratch()
    filters, projection, bias = torch.randn(2, 1, 3, 3), torch.randn(4, 8), torch.zeros(4)
    images = [torch.randn(3, 1, 4, 4, generator=rng, requires_grad=True) for _ in range(2)]
    outputs = [project_features(i, filters, None, norm, None, projection, bias, scratch) for i in images]
    together = grad(outputs[0].sum() + outputs[1].sum(), images)
    alone = [
        grad(project_features(i, filters, None, norm, None, projection, bias, scratch).sum(), i)[0]
        for i in images
    ]
    assert_close(list(together), alone)
