"""An exponential moving average of all weights and buffers, kept beside the training weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from corollary.learners.protocol import Learner

_TABLE = "entities."


def tensors(learner: Learner) -> dict[str, Tensor]:
    """Everything a learner has learned, by name: parameters, buffers, entity rows (as `entities.PART`)."""
    found = {name: parameter.detach() for name, parameter in learner.named_parameters()}
    found |= dict(learner.named_buffers())
    return found | {f"{_TABLE}{name}": part for name, part in learner.entities.parts.items()}


class Average:
    """average = decay * average + (1 - decay) * weights, after every step.

    The first steps use a smaller decay, (1 + step) / (10 + step), so that the start is forgotten.
    Memory: one more copy of the weights, its entity rows where the table's live, and a block while they are exchanged.
    """

    def __init__(self, learner: Learner, decay: float) -> None:
        self.decay = decay
        storage = learner.entities.storage
        self.values = {
            name: storage.like(value) if name.startswith(_TABLE) else torch.empty_like(value)
            for name, value in tensors(learner).items()
        }
        for kept, value in self._pairs(learner):
            kept.copy_(value)

    def update(self, learner: Learner, step: int) -> None:
        """Take in the weights after optimiser step `step` (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for kept, value in self._pairs(learner):
            if value.is_floating_point():
                kept.lerp_(value, 1 - decay)
            else:
                kept.copy_(value)

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
        for kept, value in self._pairs(learner):
            before = value.clone()
            value.copy_(kept)
            kept.copy_(before)

    def _pairs(self, learner: Learner) -> Iterator[tuple[Tensor, Tensor]]:
        """Average and weights, tensor by tensor, entity rows block by block."""
        table = learner.entities
        for name, value in tensors(learner).items():
            if not name.startswith(_TABLE):
                yield self.values[name], value
                continue
            for rows in table.block_slices():
                yield table.storage.view(self.values[name], rows), table.storage.view(value, rows)
