"""ConvE's wide part with its own backward equals the plain layers."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import grad
from torch.testing import assert_close

from corollary.learners import projection as module
from corollary.learners.projection import project_features
from corollary.losses.workspace import Workspace


def random(rng, *shape):
    return torch.randn(*shape, generator=rng, dtype=torch.float64).requires_grad_()


@pytest.fixture(params=["compiled", "tensor code"])
def passes(request, monkeypatch):
    """Both ways through the maps: the compiled one, and the one that accelerators take."""
    if request.param == "tensor code":
        make = module.Maps.__init__

        def without_kernels(self, image, kernel):
            make(self, image, kernel)
            self.compiled = False

        monkeypatch.setattr(module.Maps, "__init__", without_kernels)
    return request.param


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dropout", [True, False])
@pytest.mark.parametrize(("chunk", "recompute"), [(128, False), (2, False), (2, True)])
def test_value_gradients_and_statistics_equal_plain_autograd(
    passes, affine, bias, dropout, chunk, recompute, monkeypatch
):
    """Output, all gradients and running statistics, in float64, over two steps with the same buffers.

    The filters' bias has the gradient zero, since batch norm takes it away; autograd's rounding is not.
    """
    monkeypatch.setattr(module, "CHUNK_ROWS", chunk)
    rng = torch.Generator().manual_seed(0)
    filters, filter_bias = random(rng, 3, 1, 3, 3), random(rng, 3) if bias else None
    projection, projection_bias = random(rng, 4, 3 * 4 * 6), random(rng, 4)
    norm = nn.BatchNorm2d(3, affine=affine).double()
    if affine:
        norm.weight.data.copy_(torch.tensor([-1.0, 0.5, 2.0]))
        norm.bias.data.copy_(torch.tensor([0.1, -0.2, 0.3]))
    plain, workspace = copy.deepcopy(norm), Workspace()
    keep = (torch.rand(5, 3, generator=rng) < 0.7).double() / 0.7 if dropout else None
    for _ in range(2):
        image, weight = random(rng, 5, 1, 6, 8), torch.randn(5, 4, generator=rng, dtype=torch.float64)
        inputs = [image, filters, projection, projection_bias, *([filter_bias] if bias else [])]

        x = plain(F.conv2d(image, filters, filter_bias)).relu()
        x = x * keep[:, :, None, None] if dropout else x
        expected = F.linear(x.flatten(1), projection, projection_bias)
        actual = project_features(
            image,
            filters,
            filter_bias,
            norm,
            keep,
            projection,
            projection_bias,
            workspace,
            recompute=recompute,
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_recomputing_the_maps_changes_no_byte(dtype, monkeypatch):
    """Same output, gradients and statistics, to the last bit, and the statistics move once a step.

    A chunk is a multiple of 16 rows: matrix products may round differently where rows begin off a cache line.
    """
    monkeypatch.setattr(module, "CHUNK_ROWS", 16)
    found = []
    for recompute in (False, True):
        rng = torch.Generator().manual_seed(2)
        norm, keep = nn.BatchNorm2d(2).to(dtype), (torch.rand(37, 2, generator=rng) < 0.5).to(dtype) * 2
        image, filters, projection, bias = (
            random(rng, *shape).detach().to(dtype).requires_grad_()
            for shape in ((37, 1, 5, 5), (2, 1, 3, 3), (4, 18), (4,))
        )
        out = project_features(
            image, filters, None, norm, keep, projection, bias, Workspace(), recompute=recompute
        )
        gradients = grad(out.square().sum(), (image, filters, projection, bias, norm.weight, norm.bias))
        found.append([out, *gradients, *norm.state_dict().values()])
        assert norm.num_batches_tracked == 1
    for kept, recomputed in zip(*found, strict=True):
        assert torch.equal(kept, recomputed)


def test_evaluation_uses_the_running_statistics(passes):
    """Without gradients and with them: the plain layers in evaluation mode."""
    rng = torch.Generator().manual_seed(3)
    norm = nn.BatchNorm2d(2).double()
    norm.running_mean.copy_(torch.tensor([0.3, -0.2]))
    norm.running_var.copy_(torch.tensor([2.0, 0.5]))
    norm.eval()
    image, filters, projection, bias = (
        random(rng, *shape) for shape in ((3, 1, 4, 5), (2, 1, 2, 2), (4, 24), (4,))
    )
    expected = F.linear(norm(F.conv2d(image, filters)).relu().flatten(1), projection, bias)
    inputs = (image, filters, None, norm, None, projection, bias, Workspace())
    with torch.no_grad():
        assert_close(project_features(*inputs), expected.detach(), rtol=0, atol=1e-12)
    assert_close(project_features(*inputs), expected, rtol=0, atol=1e-12)
    assert grad(project_features(*inputs).sum(), projection)[0].abs().sum() > 0


def test_two_forwards_before_a_backward_keep_apart():
    """Buffers that are still needed are not used again."""
    rng = torch.Generator().manual_seed(1)
    norm, workspace = nn.BatchNorm2d(2), Workspace()
    filters, projection, bias = torch.randn(2, 1, 3, 3), torch.randn(4, 8), torch.zeros(4)
    images = [torch.randn(3, 1, 4, 4, generator=rng, requires_grad=True) for _ in range(2)]
    outputs = [project_features(i, filters, None, norm, None, projection, bias, workspace) for i in images]
    together = grad(outputs[0].sum() + outputs[1].sum(), images)
    alone = [
        grad(project_features(i, filters, None, norm, None, projection, bias, workspace).sum(), i)[0]
        for i in images
    ]
    assert_close(list(together), alone)
