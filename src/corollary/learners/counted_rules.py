"""Counted rules as a scorer: what evaluates and predicts conve evaluates and predicts them.

An entity that no rule gives has score 0, so such entities tie; evaluation says what ties are worth.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from corollary.kernels.paths import Links
from corollary.learners.protocol import Queries
from corollary.rules.applying import Application, Applying
from corollary.rules.rule import Rules


@dataclass(frozen=True)
class Fired:
    """Answers of some queries as CSR, with their scores."""

    offsets: np.ndarray
    answers: np.ndarray
    scores: np.ndarray


class CountedRules:
    """Rules with their aggregation (`rules.applying`), on the CPU, in float64: scores differ where the order does."""

    def __init__(self, rules: Rules, links: Links, how: Applying = Applying()) -> None:
        self.application = Application(rules, links, how)
        self.num_entities = len(links.segments) - 1

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def prepare(self, queries: Queries) -> Fired:
        """All answers of the queries: 16 bytes each, and 24 a pair of answer and rule of the largest query."""
        return Fired(*self.application.scores(queries.entity_ids.numpy(), queries.relation_ids.numpy()))

    def scores(
        self, prepared: Fired, rows: slice, out: Tensor | None = None
    ) -> Float[Tensor, "queries rows"]:
        """Scores in [0, 1], 0 where no rule gives the entity."""
        queries = len(prepared.offsets) - 1
        if out is None or out.dtype != torch.float64:
            out = torch.empty(queries, rows.stop - rows.start, dtype=torch.float64)
        owners = np.repeat(np.arange(queries), np.diff(prepared.offsets))
        inside = (prepared.answers >= rows.start) & (prepared.answers < rows.stop)
        out.zero_()
        out.numpy()[owners[inside], prepared.answers[inside] - rows.start] = prepared.scores[inside]
        return out
