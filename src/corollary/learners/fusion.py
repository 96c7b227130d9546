"""Several scorers as one: by the reciprocal of their ranks, or by calibrated scores.

Raw scores of learners share no scale. Reciprocal-rank fusion needs none: an answer's score is the weighted sum of
1 / (60 + rank) over the members. Calibrated fusion maps each member's scores to shares of right answers, as held-out
queries showed them, and averages those.

Sources: Cormack et al. 2009 for reciprocal ranks and the 60.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from corollary.learners.protocol import Queries, Scorer

OFFSET = 60.0


@dataclass(frozen=True)
class Curve:
    """A rising step function from scores to shares, straight between its corners."""

    scores: Float[np.ndarray, " corners"]
    shares: Float[np.ndarray, " corners"]
    relative: bool
    """Scores are taken less the log of the sum of their exponentials over all entities of the query."""

    def __call__(
        self, values: Float[np.ndarray, "queries entities"]
    ) -> Float[np.ndarray, "queries entities"]:
        """Shares of the scores of whole queries."""
        return np.interp(relative(values) if self.relative else values, self.scores, self.shares)


def relative(values: Float[np.ndarray, "queries entities"]) -> Float[np.ndarray, "queries entities"]:
    """Log-softmax over the entities of each query, in float64."""
    values = values.astype(np.float64)
    high = values.max(axis=1, keepdims=True)
    return values - high - np.log(np.exp(values - high).sum(axis=1, keepdims=True))


def whole_scores(scorer: Scorer, queries: Queries, block_rows: int) -> Float[np.ndarray, "queries entities"]:
    """Scores of all entities, made in the same blocks as everywhere. Memory: 8 bytes a query and entity at most."""
    with torch.no_grad():
        prepared = scorer.prepare(queries.to(scorer.device))
        parts = []
        for start in range(0, scorer.num_entities, block_rows):
            rows = slice(start, min(start + block_rows, scorer.num_entities))
            parts.append(scorer.scores(prepared, rows).detach().cpu().clone())
    return torch.cat(parts, dim=1).numpy()


def reciprocal_ranks(scores: Float[np.ndarray, "queries entities"]) -> Float[np.ndarray, "queries entities"]:
    """1 / (60 + rank), rank from 1 among all entities; equal scores share the mean of their ranks."""
    order = np.argsort(-scores, axis=1, kind="stable")
    found = np.empty(scores.shape, np.float64)
    places = np.arange(1, scores.shape[1] + 1, dtype=np.float64)
    for row, by in enumerate(order):
        line = scores[row, by]
        first = np.flatnonzero(np.append(True, line[1:] != line[:-1]))
        counts = np.diff(np.append(first, len(line)))
        found[row, by] = np.repeat(places[first] + (counts - 1) / 2, counts)
    return 1.0 / (OFFSET + found)


class Fusion:
    """A weighted sum over members of what each makes of its scores. A scorer like any other, on the CPU, in float64.

    Memory: 24 bytes a query and entity while a chunk of queries is prepared; 8 after.
    """

    def __init__(
        self,
        members: Sequence[Scorer],
        weights: Sequence[float],
        curves: Sequence[Curve] | None = None,
        *,
        block_rows: int = 4096,
    ) -> None:
        """Fuse by reciprocal ranks, or, where curves are given, by calibrated scores."""
        self.members, self.weights, self.curves = list(members), list(weights), curves
        self.num_entities = members[0].num_entities
        self._block_rows = block_rows

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def prepare(self, queries: Queries) -> Float[Tensor, "queries entities"]:
        """The fused scores of all entities."""
        total = np.zeros((len(queries), self.num_entities))
        for number, member in enumerate(self.members):
            if self.weights[number]:
                total += self.weights[number] * self.part(
                    number, whole_scores(member, queries, self._block_rows)
                )
        return torch.from_numpy(total)

    def part(
        self, number: int, scores: Float[np.ndarray, "queries entities"]
    ) -> Float[np.ndarray, "queries entities"]:
        """What a member adds for a weight of 1."""
        return reciprocal_ranks(scores) if self.curves is None else self.curves[number](scores)

    def scores(
        self, prepared: Float[Tensor, "queries entities"], rows: slice, out: Tensor | None = None
    ) -> Float[Tensor, "queries rows"]:
        """In float64, whatever `out` is."""
        return prepared[:, rows]
