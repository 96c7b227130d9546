"""The moving average of the weights follows its formula, and changes places with them."""

import torch
from torch.testing import assert_close

from corollary.training.averaging import Average, tensors
from tests.learners.small_conve import config, pair


def copies(learner):
    return {name: value.clone() for name, value in tensors(learner).items()}


def move(learner, by):
    for value in tensors(learner).values():
        value.add_(1 if not value.is_floating_point() else by)


def test_everything_that_was_learned_is_named():
    """Parameters, buffers, entity rows."""
    learner, _ = pair(config())
    found = tensors(learner)
    assert {"relations", "filters", "projection", "norm_input.running_mean"} < found.keys()
    assert {"entities.weight", "entities.bias"} < found.keys()
    assert len(found) == len(dict(learner.named_parameters())) + len(dict(learner.named_buffers())) + 2
    assert found["entities.weight"] is learner.entities.parts["weight"]
    assert not any(value.requires_grad for value in found.values())


def test_the_average_follows_its_formula():
    """decay * average + (1 - decay) * weights, with a smaller decay at first; counters are copied."""
    learner, _ = pair(config())
    average, expected = Average(learner, 0.25), copies(learner)
    for step in range(1, 6):
        move(learner, by=step)
        average.update(step)
        decay = min(0.25, (1 + step) / (10 + step))
        for name, value in tensors(learner).items():
            smooth = value.is_floating_point()
            expected[name] = decay * expected[name] + (1 - decay) * value if smooth else value.clone()
    assert (1 + 1) / (10 + 1) < 0.25 < (1 + 5) / (10 + 5)
    assert_close(average.values, expected, rtol=0, atol=1e-12)


def test_in_place_the_learner_has_the_averaged_weights():
    """And its own again afterwards, to the byte, also after an error."""
    learner, _ = pair(config())
    average = Average(learner, 0.9)
    move(learner, by=1.0)
    average.update(1)
    own, mean = copies(learner), {name: value.clone() for name, value in average.values.items()}
    try:
        with average.in_place():
            assert all(torch.equal(value, mean[name]) for name, value in tensors(learner).items())
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert all(torch.equal(value, own[name]) for name, value in tensors(learner).items())
    assert all(torch.equal(value, mean[name]) for name, value in average.values.items())
