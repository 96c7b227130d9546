"""Smoothed labels by name: the definitions that circulate differ, so each has its own.

Every one is affine, label = positive * y + every, with y = 1 for a true answer and 0 otherwise.
"""

from dataclasses import dataclass
from typing import Literal

Smoothing = Literal["uniform", "conve", "pykeen"]


@dataclass(frozen=True)
class Labels:
    """label = positive * y + every."""

    positive: float = 1.0
    every: float = 0.0


def smoothed(variant: Smoothing, amount: float, num_entities: int) -> Labels:
    """The labels of one variant.

    - `uniform`: (1 - amount) y + amount / N. Mass is kept; what most papers mean.
    - `conve`: (1 - amount) y + 1 / N, as in the authors' code (and LibKGE): mass grows by one.
    - `pykeen`: 1 - amount where true, amount / (N - 1) elsewhere.
    """
    if amount == 0:
        return Labels()
    if variant == "uniform":
        return Labels(1 - amount, amount / num_entities)
    if variant == "conve":
        return Labels(1 - amount, 1 / num_entities)
    other = amount / max(num_entities - 1, 1)
    return Labels(1 - amount - other, other)
