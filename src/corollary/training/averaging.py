"""An exponential moving average of all weights and buffers, kept beside the training weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from corollary.learners.protocol import Learner


def tensors(learner: Learner) -> dict[str, Tensor]:
    """Everything a learner has learned, by name: parameters, buffers, entity rows (as `entities.PART`)."""
    found = {name: parameter.detach() for name, parameter in learner.named_parameters()}
    found |= dict(learner.named_buffers())
    return found | {f"entities.{name}": part for name, part in learner.entities.parts.items()}


class Average:
    """average = decay * average + (1 - decay) * weights, after every step.

    The first steps use a smaller decay, (1 + step) / (10 + step), so that the start is forgotten.
    Memory: one more copy of the weights; a second one while they are exchanged.
    """

    def __init__(self, learner: Learner, decay: float) -> None:
        self.decay = decay
        self.values = {name: value.clone() for name, value in tensors(learner).items()}

    def update(self, learner: Learner, step: int) -> None:
        """Take in the weights after optimiser step `step` (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in tensors(learner).items():
            if value.is_floating_point():
                self.values[name].lerp_(value, 1 - decay)
            else:
                self.values[name].copy_(value)

    @contextmanager
    def in_place(self, learner: Learner) -> Iterator[None]:
        """Inside, the learner has the averaged weights."""
        self._exchange(learner)
        try:
            yield
        finally:
            self._exchange(learner)

    @torch.no_grad()
    def _exchange(self, learner: Learner) -> None:
        for name, value in tensors(learner).items():
            kept = value.clone()
            value.copy_(self.values[name])
            self.values[name].copy_(kept)
