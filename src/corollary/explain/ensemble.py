"""The mean of influences over several trained models: what one training happened to find counts less."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.explain.deltas import Deletion
from corollary.explain.influence import Asked, Influence, Reference


class Scores(Protocol):
    """What asks and answers: one `Influence`, or several."""

    def ask(self, asked: Asked) -> Any: ...
    def scores(self, triples: np.ndarray, reference: Any) -> Tensor: ...
    def scores_by_checkpoint(self, triples: np.ndarray, reference: Any) -> Iterator[Tensor]: ...
    def self_influence(self, triples: np.ndarray, *, deletion: Deletion | None = None) -> Tensor: ...
    def losses(self, triples: np.ndarray) -> Tensor: ...


class Ensemble:
    """Several models of one graph; every number is the mean of theirs."""

    def __init__(self, members: Sequence[Influence]) -> None:
        self.members = list(members)

    def ask(self, asked: Asked) -> list[Reference]:
        """References of every member."""
        return [member.ask(asked) for member in self.members]

    def scores(
        self, triples: Int[np.ndarray, "unit 3"], reference: list[Reference]
    ) -> Float[Tensor, "unit asked"]:
        """Mean of the members' influences."""
        parts = self.scores_by_checkpoint(triples, reference)
        total = next(parts)
        for part in parts:
            total += part
        return total

    def scores_by_checkpoint(
        self, triples: Int[np.ndarray, "unit 3"], reference: list[Reference]
    ) -> Iterator[Float[Tensor, "unit asked"]]:
        """What each checkpoint of each member adds to that mean."""
        for member, theirs in zip(self.members, reference, strict=True):
            for part in member.scores_by_checkpoint(triples, theirs):
                yield part.div_(len(self.members))

    def self_influence(
        self, triples: Int[np.ndarray, "n 3"], *, deletion: Deletion | None = None
    ) -> Float[Tensor, " n"]:
        """Mean of the members'."""
        parts = [member.self_influence(triples, deletion=deletion) for member in self.members]
        return torch.stack(parts).mean(0)

    def losses(self, triples: Int[np.ndarray, "n 3"]) -> Float[Tensor, " n"]:
        """Mean of the members'."""
        return torch.stack([member.losses(triples) for member in self.members]).mean(0)
