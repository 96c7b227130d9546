"""Optimisers as functions of one block of one parameter, by torch's own fused kernels where every row is updated.

All work element by element, so a table can be updated block by block, and the same blocks give the same bytes. (With
blocks of another size Adam differs in the last bit: its fused kernel rounds the ends of vectors differently, measured.)

Under sampled training only the rows that a step names are updated, and the optimiser of a row counts the steps that
named it: a row goes where torch's optimiser takes it when it is shown those steps alone. For Adagrad and plain SGD that
is the same rule. Adam's moments fade, its bias is corrected, momentum runs on and weights decay in those steps only.
(torch's SparseAdam corrects by the steps of the whole training, so that a row's first step has three times its size.)
"""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.optim.adagrad import adagrad
from torch.optim.adam import adam

from corollary.config import Config
from corollary.learners.protocol import UpdateRule


class OptimizerConfig(Config):
    """Which optimiser, and its constants. The learning rate stands with the schedule."""

    name: Literal["adam", "adamw", "adagrad", "sgd"] = "adam"
    """adam and adagrad add weight decay to the gradient; adamw shrinks the weights directly."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of Adam's first moment; momentum of sgd when `momentum` is on."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of Adam's second moment."""
    eps: float = Field(1e-8, gt=0)
    """Added to the denominator of Adam and Adagrad."""
    weight_decay: NonNegativeFloat = 0.0
    """Strength of weight decay."""
    momentum: bool = False
    """sgd keeps a velocity, with `beta1` as its factor."""
    table: Literal["same", "rowwise_adagrad"] = "same"
    """Of the entity table: the same, or Adagrad with one number a row, the mean square over the row (4 bytes of state
    in place of 8 * embedding_dim for Adam)."""
    table_lr_factor: PositiveFloat = 1.0
    """Learning rate of the entity table, in multiples of that of the network."""

    @property
    def moments(self) -> int:
        """Tensors kept beside each parameter."""
        return {"adam": 2, "adamw": 2, "adagrad": 1, "sgd": int(self.momentum)}[self.name]


class Rule:
    """The update of one configuration."""

    def __init__(self, config: OptimizerConfig) -> None:
        self.config = config

    def state(self, weight: Tensor) -> dict[str, Tensor]:
        """Zeroed moments."""
        names = {
            "adam": ("first", "second"),
            "adamw": ("first", "second"),
            "adagrad": ("squares",),
            "sgd": ("velocity",),
        }
        return {name: torch.zeros_like(weight) for name in names[self.config.name][: self.config.moments]}

    def update(
        self, weight: Tensor, gradient: Tensor, state: Mapping[str, Tensor], *, step: int, lr: float
    ) -> None:
        """One step in place; `step` counts from 1."""
        config, done = self.config, [torch.tensor(float(step - 1), device=weight.device)]
        with torch.no_grad():
            if config.name in ("adam", "adamw"):
                adam(
                    [weight], [gradient], [state["first"]], [state["second"]], [], done,
                    fused=True, amsgrad=False, beta1=config.beta1, beta2=config.beta2, lr=lr,
                    weight_decay=config.weight_decay, eps=config.eps, maximize=False,
                    decoupled_weight_decay=config.name == "adamw",
                )  # fmt: skip
            elif config.name == "adagrad":
                adagrad(
                    [weight], [gradient], [state["squares"]], done,
                    fused=weight.device.type == "cpu", foreach=False, has_sparse_grad=False, has_complex=False,
                    lr=lr, weight_decay=config.weight_decay, lr_decay=0.0, eps=config.eps, maximize=False,
                )  # fmt: skip
            elif config.momentum:
                if step == 1:
                    state["velocity"].zero_()
                state["velocity"].mul_(config.beta1).add_(gradient).add_(weight, alpha=config.weight_decay)
                weight.add_(state["velocity"], alpha=-lr)
            else:
                weight.mul_(1 - lr * config.weight_decay).add_(gradient, alpha=-lr)
        increment_version(weight)  # torch's fused kernels do not, and scores are kept until a weight changes


class RowwiseAdagrad:
    """Adagrad with one accumulator a row: squares += mean of the row's squared gradient.

    Source: Naumov et al. 2019 (DLRM) and Lerer et al. 2019 (PyTorch-BigGraph). Differs: `weight_decay` is added to
    the gradient, as in Adagrad here.
    """

    def __init__(self, config: OptimizerConfig) -> None:
        self.config = config

    def state(self, weight: Tensor) -> dict[str, Tensor]:
        """One zero a row."""
        return {"squares": weight.new_zeros(len(weight))}

    def update(
        self, weight: Tensor, gradient: Tensor, state: Mapping[str, Tensor], *, step: int, lr: float
    ) -> None:
        """One step in place."""
        config, squares = self.config, state["squares"]
        if config.weight_decay:
            gradient = gradient.add(weight, alpha=config.weight_decay)
        squares += gradient.square().flatten(1).mean(1) if gradient.dim() > 1 else gradient.square()
        deviation = squares.sqrt().add_(config.eps)
        weight.sub_(gradient / _by_row(deviation, weight) * lr)


class LazyAdam:
    """Adam, or AdamW, of rows that are updated only when a step names them: each row counts its own steps."""

    def __init__(self, config: OptimizerConfig) -> None:
        self.config = config

    def state(self, weight: Tensor) -> dict[str, Tensor]:
        """Zeroed moments, and the steps of each row."""
        first, second = torch.zeros_like(weight), torch.zeros_like(weight)
        return {"first": first, "second": second, "steps": weight.new_zeros(len(weight))}

    def update(
        self, weight: Tensor, gradient: Tensor, state: Mapping[str, Tensor], *, step: int, lr: float
    ) -> None:
        """One step in place of each of the rows given."""
        config, first, second = self.config, state["first"], state["second"]
        steps = _by_row(state["steps"].add_(1), weight)
        if config.name == "adamw":
            weight.mul_(1 - lr * config.weight_decay)
        elif config.weight_decay:
            gradient = gradient.add(weight, alpha=config.weight_decay)
        first.lerp_(gradient, 1 - config.beta1)
        second.mul_(config.beta2).addcmul_(gradient, gradient, value=1 - config.beta2)
        deviation = (second / _correction(config.beta2, steps)).sqrt_().add_(config.eps)
        weight.sub_((first / _correction(config.beta1, steps)).div_(deviation).mul_(lr))


def table_rule(config: OptimizerConfig, *, sampled: bool) -> UpdateRule:
    """The update of an entity table; `sampled`: of the rows that a step names alone."""
    if config.table == "rowwise_adagrad":
        return RowwiseAdagrad(config)
    return LazyAdam(config) if sampled and config.name in ("adam", "adamw") else Rule(config)


def state_bytes(config: OptimizerConfig, dim: int, *, bias: bool, sampled: bool) -> int:
    """Bytes of state beside one row of a float32 table."""
    rule, parts = table_rule(config, sampled=sampled), [torch.zeros(1, dim), *([torch.zeros(1)] * bias)]
    return sum(moment.nbytes for part in parts for moment in rule.state(part).values())


def _by_row(values: Tensor, like: Tensor) -> Tensor:
    """One value a row, shaped to go with rows of `like`."""
    return values.view(-1, *[1] * (like.dim() - 1))


def _correction(beta: float, steps: Tensor) -> Tensor:
    """1 - beta ** steps, exact for few steps too."""
    return -torch.expm1(steps * (math.log(beta) if beta else -math.inf))
