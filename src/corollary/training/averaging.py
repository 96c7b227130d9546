"""An exponential moving average of all weights and buffers, kept beside the training weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from corollary.learners.protocol import Files, GradientLearner

_TABLE = "entities."


def tensors(learner: GradientLearner) -> dict[str, Tensor]:
    """Everything a learner has learned, by name: parameters, buffers, entity rows (as `entities.PART`)."""
    found = {name: parameter.detach() for name, parameter in learner.named_parameters()}
    found |= dict(learner.named_buffers())
    table = learner.entities
    return found | ({} if table is None else {f"{_TABLE}{name}": part for name, part in table.parts.items()})


class Average:
    """average = decay * average + (1 - decay) * weights, after every step.

    The first steps use a smaller decay, (1 + step) / (10 + step), so that the start is forgotten.
    Memory: one more copy of the weights, its entity rows where the table's live, and a block while they are exchanged.
    """

    def __init__(self, learner: GradientLearner, decay: float) -> None:
        self.learner, self.decay, table = learner, decay, learner.entities
        self.values = {
            name: table.storage.like(value)
            if table is not None and name.startswith(_TABLE)
            else torch.empty_like(value)
            for name, value in tensors(learner).items()
        }
        for kept, value in self._pairs():
            kept.copy_(value)

    def update(self, step: int) -> None:
        """Take in the weights after optimiser step `step` (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for kept, value in self._pairs():
            if value.is_floating_point():
                kept.lerp_(value, 1 - decay)
            else:
                kept.copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the learner has the averaged weights."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def files(self) -> Files:
        """The average, for a checkpoint."""
        rest = {name: value for name, value in self.values.items() if not name.startswith(_TABLE)}
        yield "average.safetensors", rest
        table = self.learner.entities
        if table is not None:
            yield from table.row_files({part: self.values[_TABLE + part] for part in table.parts}, "average-")

    @torch.no_grad()
    def _exchange(self) -> None:
        for kept, value in self._pairs():
            before = value.clone()
            value.copy_(kept)
            kept.copy_(before)

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Average and weights, tensor by tensor, entity rows block by block."""
        table = self.learner.entities
        for name, value in tensors(self.learner).items():
            if table is None or not name.startswith(_TABLE):
                yield self.values[name], value
                continue
            for rows in table.block_slices():
                yield table.storage.view(self.values[name], rows), table.storage.view(value, rows)
