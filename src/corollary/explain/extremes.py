"""The largest and smallest influences on every asked triple, kept while blocks of training triples go by."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Kept = tuple[Float[Tensor, "asked _"], Int[Tensor, "asked _"]]
"""Strengths, not below zero, and rows of triples; row -1 where there is none."""


@dataclass
class Extremes:
    """Proponents and opponents of every asked triple, apart: at most `k` of each."""

    k: int
    above: Kept
    below: Kept

    @classmethod
    def none(cls, k: int, num_asked: int, dtype: torch.dtype = torch.float32) -> Self:
        """Before the first block."""
        empty = torch.zeros(num_asked, 0, dtype=dtype), torch.zeros(num_asked, 0, dtype=torch.long)
        return cls(k, empty, empty)

    def add(
        self,
        scores: Float[Tensor, "block asked"],
        rows: Int[Tensor, " block"],
        allowed: Bool[Tensor, "block asked"] | None = None,
    ) -> None:
        """Take in a block: scores above zero may become proponents, those below opponents.

        Args:
            allowed: which triples of the block are candidates for which asked triple; all when not given.
        """
        if allowed is not None:
            scores = torch.where(allowed, scores, 0.0)
        self.above = self._joined(self.above, scores.T, rows)
        self.below = self._joined(self.below, -scores.T, rows)

    @property
    def proponents(self) -> tuple[Float[Tensor, "asked _"], Int[Tensor, "asked _"]]:
        """Scores in falling order, and the rows of their triples, -1 where there are fewer than k."""
        return self._best(*self.above)

    @property
    def opponents(self) -> tuple[Float[Tensor, "asked _"], Int[Tensor, "asked _"]]:
        """The same from the smallest score on."""
        strength, where = self._best(*self.below)
        return -strength, where

    def _joined(self, kept: Kept, scores: Float[Tensor, "asked block"], rows: Int[Tensor, " block"]) -> Kept:
        """What is kept, and of a block those that may belong there; cut down to the best once there is more than that."""
        if kept[0].shape[1] == self.k:
            last = kept[0].amin(1, keepdim=True) if self.k else kept[0].new_zeros(len(scores), 1)
            most = int(((scores >= last) & (scores > 0)).sum(1).max())
            if not most:
                return kept
            scores, places = torch.topk(scores, most, dim=1)
            where = torch.where(scores > 0, rows[places], -1)
        else:
            where = torch.where(scores > 0, rows, -1)
        values, where = torch.cat([kept[0], scores.clamp(min=0)], 1), torch.cat([kept[1], where], 1)
        return self._best(values, where) if values.shape[1] > self.k else (values, where)

    def _best(self, values: Float[Tensor, "asked n"], where: Int[Tensor, "asked n"]) -> Kept:
        """The k largest; of equal ones the triple of the lowest row, so that blocks change nothing."""
        by_row = torch.argsort(where, dim=1, stable=True)
        values, where = values.gather(1, by_row), where.gather(1, by_row)
        order = torch.argsort(values, dim=1, descending=True, stable=True)[:, : self.k]
        return values.gather(1, order), where.gather(1, order)

    def arrays(self) -> dict[str, np.ndarray]:
        """What `from_arrays` takes back."""
        names = ("above_values", "above_rows", "below_values", "below_rows")
        return {name: part.numpy() for name, part in zip(names, (*self.above, *self.below), strict=True)}

    @classmethod
    def from_arrays(cls, k: int, arrays: dict[str, np.ndarray]) -> Self:
        """As it was when `arrays` was called."""
        above, below = (
            (torch.from_numpy(arrays[f"{which}_values"]), torch.from_numpy(arrays[f"{which}_rows"]))
            for which in ("above", "below")
        )
        return cls(k, above, below)
