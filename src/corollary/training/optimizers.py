"""Optimisers as functions of one block of one parameter, by torch's own fused kernels.

All work element by element, so a table can be updated block by block, and the same blocks give the same bytes. (With
blocks of another size Adam differs in the last bit: its fused kernel rounds the ends of vectors differently, measured.)
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor
from torch.optim.adagrad import adagrad
from torch.optim.adam import adam

from corollary.config import Config


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
