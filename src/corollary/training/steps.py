"""How the weights of a learner move: one step of its optimiser.

The loop knows only `Steps`. `GradientSteps` is for learners whose loss has a backward; a learner whose update is a
compiled kernel brings its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from corollary.learners.protocol import Files, GradientLearner, HasFiles
from corollary.training.optimizers import OptimizerConfig, Rule, table_rule
from corollary.training.scaling import LossScale


@dataclass(frozen=True)
class Moved:
    """What one step did."""

    examples: int
    loss: float
    """Mean over the batches, before the step."""
    counted: bool = True
    """Whether weights moved; not where a gradient overflowed in fp16."""


class Steps(HasFiles, Protocol):
    """Moves the weights. `files` are what going on needs beside them, such as moments."""

    accumulation: int
    """Batches that one step takes."""
    loss_name: str
    """What the mean loss is called in metrics."""

    def update(self, batches: Sequence[Any], *, lr: float, update: int) -> Moved:
        """One step; `update` counts from 1. Where the loss is not finite the weights are left as they are."""
        ...

    def record(self) -> dict[str, Any]:
        """Plain values that going on needs beside `files`, for the manifest of a checkpoint."""
        ...

    def recall(self, record: Mapping[str, Any]) -> None:
        """Take them back."""
        ...


class GradientSteps:
    """Backward through a loss, then an optimiser; a table of entities is updated block by block.

    Memory: the optimiser's moments, as many tensors beside each parameter and row as the configuration says.
    """

    def __init__(
        self,
        learner: GradientLearner,
        optimizer: OptimizerConfig,
        *,
        device: torch.device,
        accumulation: int = 1,
        clip_norm: float | None = None,
        loss_scale: LossScale | None = None,
    ) -> None:
        """Allocate the moments.

        Args:
            accumulation: batches whose gradients are averaged into one step.
            clip_norm: largest norm of the whole gradient; longer ones are scaled down.
            loss_scale: of fp16 alone.
        """
        self.learner, self.device, self.accumulation = learner, device, accumulation
        self.clip_norm, self.loss_scale = clip_norm, loss_scale
        self.table, self.table_lr_factor = learner.entities, optimizer.table_lr_factor
        sampled = self.table is not None and self.table.sampled
        self.loss_name = "sampled_loss" if sampled else "loss"
        self.rule, self.table_rule = Rule(optimizer), table_rule(optimizer, sampled=sampled)
        if self.table is not None:
            whole_gradient = accumulation > 1 or clip_norm is not None or loss_scale is not None
            self.table.prepare_training(self.table_rule, in_sweep=not whole_gradient)
        self.moments = {name: self.rule.state(value.detach()) for name, value in learner.named_parameters()}

    def update(self, batches: Sequence[Any], *, lr: float, update: int) -> Moved:
        """One optimiser step over all the batches."""
        total, scale = 0.0, self.loss_scale.scale if self.loss_scale is not None else 1.0
        table_lr = lr * self.table_lr_factor
        if self.table is not None:
            self.table.begin_step(step=update, lr=table_lr)
        for batch in batches:
            loss = self.learner.loss(batch.to(self.device), share=scale / len(batches))
            loss.backward()
            total += loss.item() / scale
        moved = Moved(sum(len(batch) for batch in batches), total)
        if not torch.isfinite(torch.tensor(total)):
            return moved
        factor = self._factor(scale)
        if self.loss_scale is not None:
            finite = factor is not None and bool(factor.isfinite())
            self.loss_scale.note(finite=finite)
            if not finite:
                self._forget_gradient()
                return Moved(moved.examples, total, counted=False)
        self._apply(factor, lr=lr, table_lr=table_lr, update=update)
        return moved

    def _apply(self, factor: torch.Tensor | None, *, lr: float, table_lr: float, update: int) -> None:
        if self.table is not None:
            self.table.update(self.table_rule, step=update, lr=table_lr, factor=factor)
        for name, parameter in self.learner.named_parameters():
            if parameter.grad is None:
                continue
            gradient = parameter.grad if factor is None else parameter.grad.mul_(factor)
            self.rule.update(parameter.detach(), gradient, self.moments[name], step=update, lr=lr)
            parameter.grad = None

    def _forget_gradient(self) -> None:
        """A gradient that overflowed is not used."""
        if self.table is not None:
            self.table.forget_gradient()
        for _, parameter in self.learner.named_parameters():
            parameter.grad = None

    def _factor(self, scale: float) -> torch.Tensor | None:
        """What the whole gradient is to be multiplied with: one over the loss scale (not finite where the gradient is
        not), and what brings its norm down to `clip_norm`. None means one."""
        if self.clip_norm is None and self.loss_scale is None:
            return None
        gradients = [p.grad for _, p in self.learner.named_parameters() if p.grad is not None]
        squares = torch.zeros((), device=self.device)
        if self.table is not None:
            squares = self.table.squared_gradient_norm()
        for gradient in gradients:
            squares = squares + gradient.square().sum()
        norm = squares.sqrt() / scale
        clipped = (self.clip_norm or torch.inf) / norm.clamp(min=1e-12)
        return torch.where(norm.isfinite(), clipped.clamp(max=1.0) / scale, norm)

    def files(self) -> Files:
        """The moments of parameters, and those of rows in files of some blocks each."""
        states = self.moments.items()
        yield "optimizer.safetensors", {f"{n}.{m}": t for n, state in states for m, t in state.items()}
        if self.table is not None:
            yield from self.table.row_files(self.table.moments, "optimizer-")

    def record(self) -> dict[str, Any]:
        """The loss scale, where there is one."""
        return {} if self.loss_scale is None else {"loss_scale": self.loss_scale.model_dump()}

    def recall(self, record: Mapping[str, Any]) -> None:
        """Go on with the loss scale that was recorded."""
        if self.loss_scale is not None and "loss_scale" in record:
            self.loss_scale = LossScale.model_validate(record["loss_scale"])
