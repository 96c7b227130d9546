"""Several DRUM models as one scorer: each answers for the targets that it covers, others are averaged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from corollary.learners.drum.learner import Drum
from corollary.learners.protocol import Queries, Scorer


@dataclass(frozen=True)
class Member:
    """A model and the relations that it answers for."""

    learner: Drum
    covers: Bool[np.ndarray, " relations"]


class DrumEnsemble:
    """The mean of the members' distributions over those that cover a relation; the fallback's scores for the rest.

    Memory: 4 bytes a query and entity for the sum, and as many for the member at work.
    """

    def __init__(self, members: Sequence[Member], fallback: Scorer | None = None) -> None:
        self.members, self.fallback = list(members), fallback
        first = members[0].learner
        self.num_entities, self.num_relations = first.num_entities, first.num_relations

    @property
    def device(self) -> torch.device:
        return self.members[0].learner.device

    @property
    def uncovered(self) -> list[int]:
        """Relations that no member covers."""
        return np.flatnonzero(~np.any([member.covers for member in self.members], axis=0)).tolist()

    def prepare(self, queries: Queries) -> Float[Tensor, "queries entities"]:
        """All scores of the queries."""
        relations = queries.relation_ids.cpu().numpy() % self.num_relations
        total = torch.zeros(len(queries), self.num_entities)
        counts = np.zeros(len(queries))
        for member in self.members:
            rows = np.flatnonzero(member.covers[relations])
            if len(rows):
                chosen = torch.from_numpy(rows)
                some = Queries(queries.entity_ids.cpu()[chosen], queries.relation_ids.cpu()[chosen])
                total[chosen] += member.learner.prepare(some)
                counts[rows] += 1
        total /= torch.from_numpy(np.maximum(counts, 1))[:, None].float()
        left = torch.from_numpy(np.flatnonzero(counts == 0))
        if len(left) and self.fallback is not None:
            some = Queries(queries.entity_ids.cpu()[left], queries.relation_ids.cpu()[left])
            prepared = self.fallback.prepare(some)
            total[left] = self.fallback.scores(prepared, slice(0, self.num_entities)).float()
        return total

    def scores(
        self, prepared: Float[Tensor, "queries entities"], rows: slice, out: Tensor | None = None
    ) -> Float[Tensor, "queries rows"]:
        return prepared[:, rows] if out is None else out.copy_(prepared[:, rows])
