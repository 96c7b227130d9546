"""The fused step equals one dense matrix an operator, in losses, gradients and scores."""

import numpy as np
import pytest
import torch

from corollary.kernels.drum import losses as kernels
from corollary.rules.rule import links_of
from tests.reference import drum as slow

ENTITIES, RELATIONS, COMPONENTS = 9, 2, 3
FLOOR = 1e-12


def graph(seed=0, size=26):
    rng = np.random.default_rng(seed)
    triples = np.stack([rng.integers(0, n, size) for n in (ENTITIES, RELATIONS, ENTITIES)], 1)
    triples[0] = (3, 1, 3)  # an edge from an entity to itself is an example too
    return np.unique(triples, axis=0)


def attention_of(queries, steps, seed=1):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(queries, steps, 2 * RELATIONS + 1, COMPONENTS)))
    return logits.requires_grad_()


def examples_of(triples):
    """Both sides of every triple, by query: relations, bounds, starts, answers."""
    rows = sorted(
        [(r, h, t) for h, r, t in triples.tolist()] + [(r + RELATIONS, t, h) for h, r, t in triples.tolist()]
    )
    relations = np.arange(2 * RELATIONS)
    bounds = np.searchsorted([row[0] for row in rows], np.arange(2 * RELATIONS + 1))
    starts, answers = (np.array([row[i] for row in rows]) for i in (1, 2))
    return rows, (relations, bounds, starts, answers)


def run(
    links, attention, examples, *, removed=None, leave_out=True, normalise=True, parts=2, keys=(), keep=1.0
):
    mask = np.zeros(0, np.uint8) if removed is None else removed
    counts = np.diff(links.starts)
    if removed is not None:
        counts = np.add.reduceat(1 - removed.astype(np.int64), links.starts[:-1])
    return kernels.losses_and_gradients(
        links, counts, mask, attention, *examples, np.array(keys, np.uint64), keep, leave_out, normalise, FLOOR,
        RELATIONS, parts,
    )  # fmt: skip


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_losses_and_gradients(steps, normalise):
    """With each example's own edge left out. Gradients are by the log of attention, as softmax wants them."""
    triples = graph()
    rows, examples = examples_of(triples)
    logits = attention_of(2 * RELATIONS, steps)
    attention = logits.log_softmax(2).exp()
    expected = torch.stack(
        [
            slow.loss(
                list(map(tuple, triples.tolist())),
                attention[q],
                (x, q, y),
                ENTITIES,
                RELATIONS,
                normalise=normalise,
            )
            for q, x, y in rows
        ]
    )
    logs = attention.log()
    (gradient,) = torch.autograd.grad(
        torch.stack(
            [
                slow.loss(
                    list(map(tuple, triples.tolist())), logs[q].exp(), (x, q, y), ENTITIES, RELATIONS,
                    normalise=normalise,
                )
                for q, x, y in rows
            ]
        ).sum(),
        logs,
    )  # fmt: skip
    links = links_of(triples, ENTITIES, RELATIONS)
    losses, found = run(links, attention.detach().numpy(), examples, normalise=normalise)
    np.testing.assert_allclose(losses, expected.detach().numpy(), atol=1e-10, rtol=0)
    np.testing.assert_allclose(found, gradient.numpy(), atol=1e-9, rtol=0)


def test_removed_edges_are_removed_for_every_example():
    """The edges of a whole batch, both ways, as DRUM's own code removes them."""
    triples = graph()
    links = links_of(triples, ENTITIES, RELATIONS)
    batch = triples[::3]
    rows, examples = examples_of(batch)
    owner = np.repeat(np.repeat(np.arange(ENTITIES), np.diff(links.segments)), np.diff(links.starts))
    step = np.repeat(links.steps, np.diff(links.starts))
    gone = {(q, x, y) for q, x, y in rows}
    removed = np.array(
        [(s, x, y) in gone for s, x, y in zip(step, owner, links.targets, strict=True)], np.uint8
    )
    attention = attention_of(2 * RELATIONS, 3).softmax(2).detach()
    losses, _ = run(links, attention.numpy(), examples, removed=removed, leave_out=False)
    listed = list(map(tuple, triples.tolist()))
    expected = [
        slow.loss(
            listed, attention[q], (x, q, y), ENTITIES, RELATIONS, removed=list(map(tuple, batch.tolist()))
        )
        for q, x, y in rows
    ]
    np.testing.assert_allclose(losses, torch.stack(expected).numpy(), atol=1e-10, rtol=0)


def test_scores_are_the_whole_distribution():
    """Every entity, on all edges; components add up to their number."""
    triples = graph()
    links = links_of(triples, ENTITIES, RELATIONS)
    attention = attention_of(4, 3).softmax(2).detach()
    starts, query_of = np.arange(ENTITIES), np.arange(ENTITIES) % 4
    out = np.empty((ENTITIES, ENTITIES))
    kernels.scores(links, attention.numpy(), query_of, starts, True, 2, out)
    matrices = slow.operators(triples.tolist(), ENTITIES, RELATIONS)
    expected = [slow.distribution(matrices, attention[q], x) for x, q in zip(starts, query_of, strict=True)]
    np.testing.assert_allclose(out, torch.stack(expected).numpy(), atol=1e-10, rtol=0)
    np.testing.assert_allclose(out.sum(1), COMPONENTS, atol=1e-10)


def test_dropout_is_a_function_of_the_key_and_differentiable():
    """The same keys give the same losses whatever the threads; the gradient is that of finite differences."""
    triples = graph()
    links = links_of(triples, ENTITIES, RELATIONS)
    rows, examples = examples_of(triples)
    keys = np.arange(len(rows)).astype(np.uint64) * np.uint64(7919)
    logs = attention_of(4, 3).log_softmax(2).detach().numpy()
    losses, gradient = run(links, np.exp(logs), examples, keys=keys, keep=0.8)
    again, _ = run(links, np.exp(logs), examples, keys=keys, keep=0.8, parts=1)
    plain, _ = run(links, np.exp(logs), examples)
    assert (losses == again).all()
    assert (losses != plain).any()
    for place in [(0, 0, 1, 0), (1, 1, 4, 2), (3, 2, 2, 1)]:
        step = np.zeros_like(logs)
        step[place] = 1e-6
        high, low = (
            run(links, np.exp(logs + sign * step), examples, keys=keys, keep=0.8)[0].sum() for sign in (1, -1)
        )
        assert gradient[place] == pytest.approx((high - low) / 2e-6, abs=1e-6)  # rounding of the difference
