"""Losses against candidates that stand for all entities equal dense autograd on the same candidates."""

import pytest
import torch
from torch.autograd import grad
from torch.testing import assert_close

from corollary.losses import one_to_all, sampled
from corollary.losses.labels import Labels, smoothed
from corollary.losses.workspace import Workspace
from tests.reference import sampled as plain

LABELS = [Labels(), *(smoothed(variant, 0.1, 300) for variant in ("uniform", "conve", "pykeen"))]
KINDS = ["cross_entropy", "binary_cross_entropy"]


def problem(*, bias: bool, groups: int):
    """Eight queries and fifty candidates. Query 3 has no answer; own answers count once, a third of the others not at
    all for some groups."""
    rng = torch.Generator().manual_seed(0)
    query, weight = (torch.randn(n, 5, generator=rng, dtype=torch.float64) for n in (8, 50))
    offset = torch.randn(50, generator=rng, dtype=torch.float64) if bias else None
    answered = torch.tensor([1, 2, 7, 0, 1, 40, 3, 1])
    own = [torch.randperm(50, generator=rng)[:n].sort().values for n in answered.tolist()]
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), answered.cumsum(0)])
    counts = 20 * torch.rand(groups, 50, generator=rng)
    if groups > 1:
        counts *= torch.rand(groups, 50, generator=rng) > 0.3
    counts[:, torch.cat(own).unique()] = 1.0
    group_of = torch.arange(8) % groups
    scale = torch.rand(8, generator=rng, dtype=torch.float64)
    inputs = [part.requires_grad_() for part in (query, weight, offset) if part is not None]
    return (
        inputs,
        sampled.Sample(weight.detach(), None if offset is None else offset.detach(), counts, group_of, offsets, torch.cat(own)),
        scale,
    )  # fmt: skip


def expected(kind, inputs, sample, labels, scale):
    scores = inputs[0] @ inputs[1].T + (inputs[2] if len(inputs) == 3 else 0)
    counts = sample.counts.double()[sample.group_of]
    losses = plain.losses(kind, scores, counts, sample.offsets, sample.answers, labels)
    return losses.detach(), grad(losses @ scale, inputs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("entries", [1, 150, 10_000])
def test_losses_and_gradients_equal_autograd_on_the_same_candidates(
    kind, labels, bias, groups, entries, monkeypatch
):
    """In float64, in both forms, whatever the size of the strips (1, 3 and all queries)."""
    monkeypatch.setattr(sampled, "TILE_ENTRIES", entries)
    inputs, sample, scale = problem(bias=bias, groups=groups)
    value, gradients = expected(kind, inputs, sample, labels, scale)

    losses, found = sampled.fused(kind, inputs[0], sample, labels=labels, scale=scale, workspace=Workspace())
    assert_close(losses, value, rtol=0, atol=1e-11)
    parts = [found.query, found.weight, *([found.bias] if bias else [])]
    assert_close(parts, list(gradients), rtol=0, atol=1e-11)

    per_query = sampled.losses(kind, inputs[0], sample, labels=labels)
    assert_close(per_query.detach(), value, rtol=0, atol=1e-11)
    assert_close(grad(per_query @ scale, inputs[0])[0], gradients[0], rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", LABELS)
def test_all_entities_as_candidates_give_the_exact_loss(kind, labels):
    """Each standing for itself: value and every gradient are those of the exact sweep."""
    inputs, sample, scale = problem(bias=True, groups=1)
    sample = sampled.Sample(
        sample.weight, sample.bias, torch.ones(1, 50), sample.group_of, sample.offsets, sample.answers
    )
    weight, bias = torch.empty_like(sample.weight), torch.empty_like(sample.bias)
    table = one_to_all.Whole(sample.weight, sample.bias, 7, weight, bias)
    exact, query = one_to_all.fused(
        kind, inputs[0], table, sample.offsets, sample.answers, labels=labels, scale=scale, workspace=Workspace()
    )  # fmt: skip
    losses, found = sampled.fused(kind, inputs[0], sample, labels=labels, scale=scale, workspace=Workspace())
    assert_close(losses, exact, rtol=0, atol=1e-11)
    assert_close((found.query, found.weight, found.bias), (query, weight, bias), rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 2])
def test_extreme_scores_stay_finite(kind, groups):
    """Scores of a thousand, either sign, and candidates that do not count, give finite numbers in float32."""
    counts = torch.tensor([[1.0, 1.0, 5000.0], [1.0, 1.0, 0.0]])[:groups]
    sample = sampled.Sample(
        torch.tensor([[1.0], [-1.0], [0.5]]), None, counts, torch.tensor([0, groups - 1]),
        torch.tensor([0, 1, 2]), torch.tensor([1, 1]),
    )  # fmt: skip
    query = torch.tensor([[1000.0], [-1000.0]])
    losses, found = sampled.fused(
        kind, query, sample, labels=Labels(), scale=torch.ones(2), workspace=Workspace()
    )
    assert losses.isfinite().all()
    assert found.query.isfinite().all()
    assert found.weight.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_a_strip_are_all_that_exists(kind, monkeypatch):
    """However many candidates there are; a single query is the least."""
    taken = []
    take = Workspace.take
    monkeypatch.setattr(
        Workspace, "take", lambda self, name, like, *shape: taken.append(shape) or take(self, name, like, *shape)
    )  # fmt: skip
    monkeypatch.setattr(sampled, "TILE_ENTRIES", 160)
    inputs, sample, scale = problem(bias=True, groups=2)
    sampled.fused(kind, inputs[0], sample, labels=Labels(), scale=scale, workspace=Workspace())
    assert set(taken) == {(3, 50), (2, 50)}
    assert sampled.strip_rows(512, 1_000) == 160 // 1_000 + 1
    monkeypatch.undo()
    assert [sampled.strip_rows(1024, n) for n in (1_000, 8_192, 16_384)] == [512, 512, 256]
