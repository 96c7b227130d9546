"""The losses that never hold batch x entities equal dense autograd."""

import pytest
import torch
from torch.autograd import grad
from torch.testing import assert_close

from corollary.losses import one_to_all
from corollary.losses.labels import Labels, smoothed
from corollary.losses.workspace import Workspace
from tests.reference import one_to_all as dense

LABELS = [Labels(), *(smoothed(variant, 0.1, 50) for variant in ("uniform", "conve", "pykeen"))]


def problem(bias: bool):
    """Eight queries against fifty entities; query 3 has no answer, query 5 has forty."""
    rng = torch.Generator().manual_seed(0)
    query = torch.randn(8, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    entity = torch.randn(50, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    offset = torch.randn(50, generator=rng, dtype=torch.float64, requires_grad=True) if bias else None
    counts = torch.tensor([1, 2, 7, 0, 1, 40, 3, 1])
    answers = torch.cat([torch.randperm(50, generator=rng)[:n].sort().values for n in counts.tolist()])
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    weight = torch.rand(8, generator=rng, dtype=torch.float64)
    return query, entity, offset, offsets, answers, weight


@pytest.mark.parametrize("kind", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("block_rows", "strip_rows"), [(1, 8), (7, 3), (50, 1), (999, 512)])
def test_tile_size_changes_memory_not_numbers(kind, labels, bias, block_rows, strip_rows, monkeypatch):
    """Losses and every gradient equal dense autograd at every size of blocks and strips, in both forms."""
    monkeypatch.setattr(one_to_all, "STRIP_ROWS", strip_rows)
    query, entity, offset, offsets, answers, weight = problem(bias)
    inputs = (query, entity, offset) if bias else (query, entity)

    scores = query @ entity.T + (offset if bias else 0)
    expected = getattr(dense, kind)(scores, dense.dense_labels(offsets, answers, 50), labels)
    gradients = grad(expected @ weight, inputs)

    actual = getattr(one_to_all, kind)(
        query, entity, offset, offsets, answers, labels=labels, block_rows=block_rows
    )
    assert_close(actual, expected, rtol=0, atol=1e-12)
    assert_close(grad(actual @ weight, inputs), gradients, rtol=0, atol=1e-12)

    buffers = [torch.full_like(value, torch.nan) for value in inputs[1:]]
    table = one_to_all.Whole(entity.detach(), offset.detach() if bias else None, block_rows, *buffers)
    losses, query_gradient = one_to_all.fused(
        kind, query, table, offsets, answers, labels=labels, scale=weight, workspace=Workspace()
    )
    assert_close(losses, expected.detach(), rtol=0, atol=1e-12)
    assert_close((query_gradient, *buffers), gradients, rtol=0, atol=1e-12)


def test_a_second_batch_adds_to_the_gradient():
    """A block that is not fresh keeps what it holds."""
    query, entity, offset, offsets, answers, weight = problem(True)
    once, twice = torch.empty(2, 50, 5, dtype=torch.float64), torch.empty(2, 50, dtype=torch.float64)
    for fresh in (True, False):
        for copy in (0, 1) if fresh else (1,):
            table = one_to_all.Whole(
                entity.detach(), offset.detach(), 9, once[copy], twice[copy], fresh=fresh
            )
            one_to_all.fused(
                "cross_entropy",
                query,
                table,
                offsets,
                answers,
                labels=LABELS[1],
                scale=weight,
                workspace=Workspace(),
            )
    assert_close(once[1], 2 * once[0], rtol=1e-12, atol=1e-12)
    assert_close(twice[1], 2 * twice[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["cross_entropy", "binary_cross_entropy"])
def test_extreme_scores_stay_finite(kind):
    """Scores of a thousand, either sign, give finite losses and gradients in float32."""
    query = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    entity = torch.tensor([[1.0], [-1.0], [0.5]], requires_grad=True)
    offsets, answers = torch.tensor([0, 1, 2]), torch.tensor([1, 1])
    losses = getattr(one_to_all, kind)(query, entity, None, offsets, answers, block_rows=2)
    assert losses.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in grad(losses.sum(), (query, entity)))


def test_no_tensor_of_batch_times_entities_is_made(monkeypatch):
    """The largest buffer is a strip of the batch x a block of the table."""
    taken = []
    take = Workspace.take
    monkeypatch.setattr(
        Workspace,
        "take",
        lambda self, name, like, *shape: taken.append(shape) or take(self, name, like, *shape),
    )
    monkeypatch.setattr(one_to_all, "STRIP_ROWS", 5)
    query, entity, offset, offsets, answers, weight = problem(True)
    one_to_all.cross_entropy(query, entity, offset, offsets, answers, block_rows=7).sum().backward()
    assert set(taken) == {(5, 7), (3, 7), (5, 1), (3, 1)}
