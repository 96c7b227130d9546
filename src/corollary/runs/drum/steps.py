"""One step of DRUM's optimiser: clipped entry by entry, and for queries only in the rows of the targets in training."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int
from pydantic import Field, PositiveFloat
from torch import Tensor

from corollary.learners.drum.batches import DrumBatch
from corollary.learners.drum.learner import Drum
from corollary.learners.protocol import Files
from corollary.training.loop import LoopConfig
from corollary.training.optimizers import OptimizerConfig, Rule
from corollary.training.steps import Moved


class DrumTraining(LoopConfig):
    """How DRUM is trained."""

    epochs: int = Field(10, ge=1)
    """Passes over the queries; with groups rotations * groups * epochs_per_group."""
    validate_every: int = Field(1, ge=1)
    """Epochs between validations."""
    optimizer: OptimizerConfig = OptimizerConfig()
    clip_value: PositiveFloat | None = 5.0
    """Largest size of any entry of the gradient; the authors' way. Not set: no limit."""
    clip_norm: PositiveFloat | None = None
    """Largest norm of the whole gradient, after `clip_value`."""


class DrumSteps:
    """Adam or another rule on all weights. Queries of targets that are not in training keep their rows and moments.

    A batch whose gradient is not finite is passed over and counted.
    """

    accumulation = 1
    loss_name = "loss"

    def __init__(self, learner: Drum, config: DrumTraining) -> None:
        self.learner, self.config = learner, config
        self.rule = Rule(config.optimizer)
        self.moments = {name: self.rule.state(value.detach()) for name, value in learner.named_parameters()}
        self.row_steps = torch.zeros(2 * learner.num_relations, dtype=torch.int64)
        """Steps that each query's row has been part of."""
        self.passed_over = 0

    def update(self, batches: Sequence[DrumBatch], *, lr: float, update: int) -> Moved:
        """One step; the loss is the mean over examples."""
        (batch,) = batches
        loss = self.learner.loss(batch.to(self.learner.device))
        loss.backward()
        parameters = dict(self.learner.named_parameters())
        gradients = {name: value.grad for name, value in parameters.items() if value.grad is not None}
        for value in parameters.values():
            value.grad = None
        if not all(bool(gradient.isfinite().all()) for gradient in gradients.values()):
            self.passed_over += 1
            return Moved(len(batch), loss.item(), counted=False)
        self._clip(gradients)
        rows = self._rows()
        for name, gradient in gradients.items():
            weight = parameters[name].detach()
            if name == "queries" and rows is not None:
                self._update_rows(weight, gradient, rows, lr)
            else:
                self.rule.update(weight, gradient, self.moments[name], step=update, lr=lr)
        return Moved(len(batch), loss.item())

    def _clip(self, gradients: Mapping[str, Tensor]) -> None:
        if self.config.clip_value is not None:
            for gradient in gradients.values():
                gradient.clamp_(-self.config.clip_value, self.config.clip_value)
        if self.config.clip_norm is not None:
            norm = torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum().sqrt()
            factor = (self.config.clip_norm / norm.clamp(min=1e-12)).clamp(max=1.0)
            for gradient in gradients.values():
                gradient.mul_(factor)

    def _rows(self) -> Int[Tensor, " rows"] | None:
        """Rows of the targets whose turn it is; None: all."""
        if self.learner.only is None:
            return None
        targets = torch.from_numpy(self.learner.only)
        return torch.cat([targets, targets + self.learner.num_relations])

    def _update_rows(self, weight: Tensor, gradient: Tensor, rows: Int[Tensor, " rows"], lr: float) -> None:
        """Rows that were updated as often are updated together, by the steps that they have been part of."""
        self.row_steps[rows] += 1
        state = self.moments["queries"]
        for step in self.row_steps[rows].unique().tolist():
            some = rows[self.row_steps[rows] == step].to(weight.device)
            part, moments = weight[some], {name: value[some] for name, value in state.items()}
            self.rule.update(part, gradient[some], moments, step=step, lr=lr)
            weight[some] = part
            for name, value in moments.items():
                state[name][some] = value

    def files(self) -> Files:
        """Moments, and how often each row was updated."""
        moments = {f"{n}.{m}": t for n, state in self.moments.items() for m, t in state.items()}
        yield "optimizer.safetensors", {**moments, "row_steps": self.row_steps}

    def record(self) -> dict[str, Any]:
        """How many batches were passed over."""
        return {"passed_over": self.passed_over}

    def recall(self, record: Mapping[str, Any]) -> None:
        """Go on counting."""
        self.passed_over = int(record.get("passed_over", 0))
