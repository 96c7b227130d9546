"""Every entry of `LEARNERS` keeps the same promises."""

import pytest
import torch

from corollary.budget import MIB, Budget
from corollary.errors import PlanDoesNotFit
from corollary.learners import LEARNERS
from corollary.learners.planning import Needs
from corollary.learners.protocol import Queries, Scorer
from corollary.training import checkpoints
from corollary.training.optimizers import OptimizerConfig, Rule

SMALL = {"conve": {"embedding_dim": 12, "channels": 4, "batch_size": 20, "block_rows": 7}}
POSITION = {"epoch": 0, "step": 0, "updates": 0, "learning_rate": 0.0, "averaged": False, "loop": {}}

pytestmark = pytest.mark.parametrize("name", list(LEARNERS))


def make(name, graph, seed=0):
    """A small one of this kind; a learner without small options here is not tested, so add some."""
    kind, config = LEARNERS[name]
    sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
    return kind(config.build(SMALL[name]), **sizes, seed=seed)


def first_losses(name, graph, *, seed, order=0):
    """Losses of the first three batches, with an update after each."""
    learner, rule = make(name, graph, seed).train(), Rule(OptimizerConfig(name="sgd"))
    learner.entities.prepare_training(rule)
    losses = []
    for batch in learner.batches(graph, seed=order, epoch=0)[:3]:
        loss = learner.loss(batch)
        loss.backward()
        learner.entities.update(rule, step=1, lr=0.1)
        losses.append(loss.item())
    return losses


def scores(learner):
    queries = Queries(torch.arange(20), torch.arange(20) % 6)
    prepared = learner.eval().prepare(queries)
    return torch.cat([learner.scores(prepared, slice(start, start + 10)) for start in (0, 10, 20)], 1)


def test_a_seed_repeats(tiny, name):
    """The same bits, whatever ran before; another seed, of the weights or of the batches, gives others."""
    first = first_losses(name, tiny, seed=0)
    torch.rand(5)
    assert first_losses(name, tiny, seed=0) == first
    assert first_losses(name, tiny, seed=1) != first
    assert first_losses(name, tiny, seed=0, order=1) != first


def test_training_lowers_the_loss(tiny, name):
    """A learner that is shown the same batch thirty times knows it better."""
    learner, rule = make(name, tiny).train(), Rule(OptimizerConfig())
    learner.entities.prepare_training(rule)
    states = {key: rule.state(value.detach()) for key, value in learner.named_parameters()}
    batch, losses = learner.batches(tiny, seed=0, epoch=0)[0], []
    for step in range(1, 31):
        loss = learner.loss(batch)
        loss.backward()
        learner.entities.update(rule, step=step, lr=0.01)
        for key, value in learner.named_parameters():
            rule.update(value.detach(), value.grad, states[key], step=step, lr=0.01)
            value.grad = None
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_save_then_load_scores_the_same_bytes(tiny, name, tmp_path):
    """Into a learner that started from another seed."""
    first, second = make(name, tiny, seed=0), make(name, tiny, seed=1)
    expected = scores(first)
    assert not torch.equal(scores(second), expected)
    checkpoints.save(tmp_path / "c", first, position=POSITION)
    checkpoints.load(tmp_path / "c", second)
    assert torch.equal(scores(second), expected)


def test_it_scores_whatever_the_chunk_is_to_be(tiny, name):
    """The same call gives the same bytes, and every entity has a finite score."""
    learner = make(name, tiny)
    assert isinstance(learner, Scorer)
    assert learner.num_entities == tiny.num_entities
    assert torch.equal(scores(learner), scores(learner))
    assert scores(learner).shape == (20, 30)
    assert scores(learner).isfinite().all()


def test_losses_are_one_a_query(tiny, name):
    """Finite, and differentiable for attribution."""
    learner = make(name, tiny).train()
    batch = learner.batches(tiny, seed=0, epoch=0)[0]
    losses = learner.losses(batch)
    losses.sum().backward()
    assert losses.shape == (len(batch),)
    assert losses.isfinite().all()
    assert all(value.grad.isfinite().all() for _, value in learner.named_parameters())


def test_a_plan_is_positive_and_itemised(tiny, name):
    """No part is negative, more moments cost more, and what does not fit is told part by part."""
    kind, config = LEARNERS[name]

    def plan(moments, limit=None):
        needs = Needs(moments=moments, average=True, held=MIB)
        return kind.plan(config.build(SMALL[name]), tiny.size, Budget(limit=limit), needs)

    parts = plan(2).parts
    assert len(parts) >= 5
    assert all(size >= 0 for size in parts.values())
    assert plan(2).total == sum(parts.values()) > plan(0).total > 0
    with pytest.raises(PlanDoesNotFit) as caught:
        plan(2, limit=MIB).check(name)
    assert all(f"{part} {size / MIB:.1f}" in str(caught.value) for part, size in parts.items())
