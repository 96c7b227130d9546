"""Inner products from factors equal autograd's per-example gradients, over every option the trainer offers."""

from itertools import product

import pytest
import torch
from torch.testing import assert_close

from corollary.explain import deltas as meaning
from corollary.explain.encoding import Frozen
from corollary.explain.factors import factors
from corollary.explain.products import Asked, pair_products, products
from corollary.learners.protocol import Batch, Place, Queries
from corollary.losses.workspace import Workspace
from tests.learners.small_conve import ENTITIES, batch, config, pair

CANCELLED = {"convolution.bias", "projection.bias", "norm_input.weight", "norm_input.bias"}
"""Parameters that a later batch norm cancels in training."""


def frozen_pair(**values):
    """A learner in evaluation mode and its plain twin, with running statistics that are not the first ones."""
    learner, plain = pair(config(input_dropout=0, feature_dropout=0, hidden_dropout=0, **values))
    with torch.no_grad():
        for module in (learner, plain):
            rng = torch.Generator().manual_seed(5)
            for name, buffer in sorted(module.named_buffers()):
                if buffer.is_floating_point():
                    noise = torch.rand(buffer.shape, generator=rng, dtype=torch.float64)
                    buffer.copy_(noise + (0.5 if name.endswith("var") else -0.5))
    return learner.eval(), plain.eval()


def examples_of(one: Batch):
    """Every (query, answer) of a batch: query number and answer."""
    counts = one.offsets.diff()
    return torch.repeat_interleave(torch.arange(len(counts)), counts), one.answers


def deltas_of(learner, one: Batch, deletion):
    """Deltas of all of them."""
    of, answers = examples_of(one)
    shape = {"like": learner.projection.detach(), "num_entities": ENTITIES}
    if deletion == "example":
        return meaning.of_examples(learner.config, learner.labels, answers, **shape)
    return meaning.of_labels(learner.config, learner.labels, of, answers, one.offsets, one.answers, **shape)


def loss_of(plain, queries, answers):
    """The loss of one row with these answers, as it counts; zero without answers."""
    if not len(answers):
        return torch.zeros((), dtype=torch.float64)
    row = Batch(queries, torch.tensor([0, len(answers)]), answers, Place(0, 0, 0))
    return plain.losses(row).sum()


def gradient(plain, value):
    """Of all parameters that training moves, as one vector."""
    kept = [parameter for name, parameter in plain.named_parameters() if name not in CANCELLED]
    found = torch.autograd.grad(value, kept, allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(kept, found, strict=True)]
    )


def expected_gradients(plain, one, of, answers, deletion):
    """By autograd, one example after the other."""
    found = []
    for number, answer in zip(of.tolist(), answers.tolist(), strict=True):
        queries = Queries(one.queries.entity_ids[[number]], one.queries.relation_ids[[number]])
        row = one.answers[one.offsets[number] : one.offsets[number + 1]]
        if deletion == "example" or plain.config.examples == "1vsall":
            value = loss_of(plain, queries, torch.tensor([answer]))
        else:
            value = loss_of(plain, queries, row) - loss_of(plain, queries, row[row != answer])
        found.append(gradient(plain, value))
    return torch.stack(found)


GRID = [
    {"loss": loss, "reduction": reduction, "examples": examples, "weight": weight}
    | {"label_smoothing": amount, "smoothing": smoothing}
    for (loss, reduction), examples, weight, (smoothing, amount) in product(
        (("cross_entropy", "sum"), ("binary_cross_entropy", "sum"), ("binary_cross_entropy", "mean")),
        ("kvsall", "1vsall"),
        ("triple", "query"),
        (("uniform", 0.0), ("uniform", 0.1), ("conve", 0.1), ("pykeen", 0.1)),
    )
]
ARCHITECTURES = [
    {"variant": variant, "stacking": stacking, "entity_bias": bias, "conv_bias": conv_bias}
    for variant, stacking, bias, conv_bias in product(
        ("paper", "libkge"), ("height", "width"), (True, False), (True, False)
    )
]


def check(values, deletion):
    """All pairs of the examples of one batch, against the Gram matrix of autograd's gradients."""
    learner, plain = frozen_pair(**values)
    one = batch()
    of, answers = examples_of(one)
    frozen, workspace = Frozen(learner), Workspace()
    deltas = deltas_of(learner, one, deletion)
    asked = Asked(frozen, factors(frozen, one.queries, of, deltas, workspace), workspace)
    found = factors(frozen, one.queries, of, deltas, workspace, against=asked)
    every = expected_gradients(plain, one, of, answers, deletion)
    expected = every @ every.T
    scale = expected.abs().max()
    assert_close(products(found, asked, workspace) / scale, expected / scale, rtol=0, atol=1e-12)
    left, right = torch.arange(len(of)), torch.arange(len(of)).roll(3)
    for other in (left, right):
        pairs = pair_products(frozen, found, left, other, workspace)
        assert_close(pairs / scale, expected[left, other] / scale, rtol=0, atol=1e-12)


@pytest.mark.parametrize("deletion", ["example", "label"])
@pytest.mark.parametrize("values", GRID, ids=lambda v: "-".join(str(part) for part in v.values()))
def test_every_objective_equals_autograd(values, deletion):
    """Both meanings of taking a triple away, every loss, weight, smoothing; blocks of seven entities."""
    check(values, deletion)


@pytest.mark.parametrize("values", ARCHITECTURES, ids=lambda v: "-".join(str(part) for part in v.values()))
def test_every_architecture_equals_autograd(values):
    """Variants, stackings, with and without biases."""
    check({**values, "label_smoothing": 0.1}, "example")


@pytest.mark.parametrize("contrast", [True, False])
def test_scores_as_targets_equal_autograd(contrast):
    """Influence on a score, and on the lead of one answer over another: positive supports."""
    learner, plain = frozen_pair(label_smoothing=0.1)
    one = batch()
    of, answers = examples_of(one)
    frozen, workspace = Frozen(learner), Workspace()
    like = learner.projection.detach()
    targets, rivals = torch.tensor([3, 9]), torch.tensor([4, 20]) if contrast else None
    asked = Queries(torch.tensor([4, 11]), torch.tensor([2, 5]))
    deltas = meaning.of_scores(targets, rivals, like=like)
    test = Asked(frozen, factors(frozen, asked, torch.arange(2), deltas, workspace), workspace)
    own = deltas_of(learner, one, "example")
    train = factors(frozen, one.queries, of, own, workspace, against=test)
    theirs = []
    for i in range(2):
        scores = plain.scores(asked)[i]
        wanted = scores[targets[i]] - (0 if rivals is None else scores[rivals[i]])
        theirs.append(-gradient(plain, wanted))
    expected = expected_gradients(plain, one, of, answers, "example") @ torch.stack(theirs).T
    scale = expected.abs().max()
    assert_close(products(train, test, workspace) / scale, expected / scale, rtol=0, atol=1e-12)
