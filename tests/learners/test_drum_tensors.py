"""The step in tensors, as other devices make it, equals the compiled one; how edges are cut into chunks changes little."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from corollary.learners.drum import tensor_walk
from corollary.learners.drum.learner import Drum
from corollary.learners.protocol import Queries
from tests.learners.test_drum import learner_on


@pytest.fixture
def in_tensors(monkeypatch):
    """Switch a learner on the CPU to the other way."""

    def switch(on: bool) -> None:
        monkeypatch.setattr(Drum, "in_tensors", property(lambda self: on))

    return switch


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rule_length": 3},
        {"own_edges": "batch"},
        {"normalise": False},
        {"dropout": 0.3},
        {"shortlist": 3},
    ],
    ids=str,
)
def test_losses_and_gradients_equal_the_compiled_ones(tiny, in_tensors, monkeypatch, changes):
    """In float64 to 1e-10 and 1e-9, with edges in chunks of 50."""
    monkeypatch.setattr(tensor_walk, "edges_per_chunk", lambda examples, components: 50)
    learner = learner_on(tiny, **changes).double()
    batch = learner.batches(tiny, seed=0, epoch=0)[1]
    parameters = [value for _, value in learner.named_parameters()]
    found = []
    for on in (False, True):
        in_tensors(on)
        found.append((learner.losses(batch), torch.autograd.grad(learner.loss(batch), parameters)))
    assert_close(found[1][0], found[0][0], rtol=0, atol=1e-10)
    assert_close(found[1][1], found[0][1], rtol=0, atol=1e-9)
    assert found[0][0].std() > 0.1


def test_scores_equal_the_compiled_ones(tiny, in_tensors):
    """To what float32 holds, a query alone or among others."""
    learner = learner_on(tiny)
    asked = Queries(torch.arange(12), torch.arange(12) % 6)
    in_tensors(False)
    expected = learner.prepare(asked)
    in_tensors(True)
    assert_close(learner.prepare(asked), expected, rtol=0, atol=2e-6)


def test_autograd_of_a_step_is_right(tiny):
    """Against finite differences, own edges passed over."""
    learner = learner_on(tiny).double()
    batch = learner.batches(tiny, seed=0, epoch=0)[0]
    starts, answers = (torch.from_numpy(part[:4]) for part in (batch.starts, batch.answers))
    forward = torch.from_numpy(np.repeat(batch.relations.numpy(), np.diff(batch.bounds))[:4])
    own = tensor_walk.Own(starts, answers, forward, (forward + 3) % 6)
    assert learner.data is not None
    chunks = tensor_walk.chunks_of(
        learner.data.links, np.zeros(0, np.uint8), 3, edges_per_chunk=64, device=torch.device("cpu")
    )
    rng = torch.Generator().manual_seed(0)
    state = torch.rand(30, 4, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    attention = torch.rand(7, 4, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda s, a: tensor_walk._Step.apply(s, a, chunks, own), (state, attention)
    )
