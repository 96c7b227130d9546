"""Learning rates as a function of the step, and the one schedule that has to remember: plateau."""

import math
from typing import Literal

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt

from corollary.config import Config


class ScheduleConfig(Config):
    """How the learning rate moves from its first value."""

    name: Literal["constant", "cosine", "exponential", "plateau"] = "constant"
    """cosine falls to zero at the last step; exponential multiplies by `factor` every epoch; plateau multiplies by
    `factor` when the validation metric has not improved for `patience` validations."""
    warmup: float = Field(0.0, ge=0, lt=1)
    """Share of all steps over which the rate rises from zero."""
    factor: PositiveFloat = Field(0.95, le=1)
    """Multiplier of exponential and plateau."""
    patience: PositiveInt = 3
    """Validations without improvement that plateau waits for."""

    def rate(self, *, step: int, total: int, epoch: int, drops: int) -> float:
        """Multiplier of the first learning rate at optimiser step `step` (from 1) of `total`."""
        rising = self.warmup * total
        warm = min(step / rising, 1.0) if rising else 1.0
        if self.name == "cosine":
            progress = max(step - rising, 0) / max(total - rising, 1)
            return warm * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        if self.name == "exponential":
            return warm * self.factor**epoch
        return warm * self.factor**drops


class Progress(BaseModel):
    """What validation has shown so far: for early stopping, plateau and the best checkpoint."""

    best: float | None = None
    best_epoch: int | None = None
    since_best: int = 0
    """Validations since the best one."""
    since_drop: int = 0
    drops: int = 0
    """Times that plateau has lowered the rate."""

    def note(self, value: float, epoch: int, schedule: ScheduleConfig) -> bool:
        """Take in one validation, higher is better; True where it is the best so far."""
        improved = self.best is None or value > self.best
        self.since_best = 0 if improved else self.since_best + 1
        self.since_drop = 0 if improved else self.since_drop + 1
        if improved:
            self.best, self.best_epoch = value, epoch
        if schedule.name == "plateau" and self.since_drop >= schedule.patience:
            self.drops, self.since_drop = self.drops + 1, 0
        return improved
