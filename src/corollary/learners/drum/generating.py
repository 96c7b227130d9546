"""Query vectors and operator keys made from what a relation is like, so that unseen relations can be asked.

q = f(description) and k = g(description) by a small network each, beside the rows that every seen relation has of its
own. To learn to do without those, some relations are asked for without their rows, others every 64 steps, described by no,
one, five or all of their facts (Vinyals et al. 2016 for training as one is tested). Experimental: docs/drum.md has what
it is worth beside copying the most similar relation and beside counted rules.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from corollary.learners.drum.config import DrumConfig
from corollary.learners.drum.data import DrumData
from corollary.learners.drum.relation_features import KNOWN, WIDTH, Describer
from corollary.learners.layers import normal, uniform
from corollary.learners.protocol import Place
from corollary.randomness import generator

FEW = (0, 1, 5, None)
"""Facts by which hidden relations are described, one of these each; None: all of them."""
STEPS = 64
"""Of training, before others are hidden."""


@dataclass(frozen=True)
class Episode:
    """Which relations a step does without."""

    described: Float[Tensor, "directed width"]
    """As queries; those that are hidden by few facts."""
    looked_up: Bool[Tensor, " directed"]
    """Whose own rows take part."""
    hidden: Bool[Tensor, " directed"]
    """Which are asked for as if unseen: their own edges are no bodies for them."""


class Generator(nn.Module):
    """The two networks, and the descriptions that they read.

    Memory: 4 * `WIDTH` bytes a directed relation, and about as many weights as one LSTM.
    """

    described: Tensor

    def __init__(self, config: DrumConfig, *, seed: int) -> None:
        super().__init__()
        self.config, self.seed = config, seed
        wide, d, states = config.generated_width, config.query_embed_size, 2 * config.lstm_size
        self.query_inside = nn.Parameter(_glorot(seed, "query inside", WIDTH, wide))
        self.query_outside = nn.Parameter(_glorot(seed, "query outside", wide, d))
        self.key_inside = nn.Parameter(_glorot(seed, "key inside", WIDTH, wide))
        self.key_outside = nn.Parameter(normal(seed, "key outside", wide, states + 1, std=2 / wide**0.5))
        unknown = torch.full((2, KNOWN), torch.nan)
        self.scale = nn.Parameter(unknown, requires_grad=False)
        """Mean and deviation of what facts tell of the relations of the first graph."""
        self.register_buffer("described", torch.zeros(0, WIDTH), persistent=False)
        self._describer: Describer | None = None
        self._hidden: tuple[tuple[int, int], Episode] | None = None

    def describe(self, data: DrumData) -> None:
        """Describe all relations of a graph. The first graph settles the scale."""
        self._describer, raw = Describer.of(data.links, data.known, data.names)
        there = raw[:, 0, -2] > 0
        if bool(self.scale.isnan().any()):
            known = raw[there][:, :, :KNOWN].reshape(-1, KNOWN)
            self.scale.data.copy_(torch.from_numpy(np.stack([known.mean(0), known.std(0) + 1e-3])))
        self.described, self._hidden = self._scaled(raw), None

    def _scaled(self, raw: Float[np.ndarray, "relations two width"]) -> Float[Tensor, "directed width"]:
        """In units of the first graph's deviations, at most 5; the tails of all relations first, then the heads."""
        rows = torch.from_numpy(raw).to(self.scale).permute(1, 0, 2).reshape(-1, WIDTH)
        known = ((rows[:, :KNOWN] - self.scale[0]) / self.scale[1]).clamp(-5, 5)
        there = rows[:, -2:-1] > 0
        return torch.cat([torch.where(there, known, 0.0), rows[:, KNOWN:]], 1)

    def queries(self, described: Float[Tensor, "queries width"]) -> Float[Tensor, "queries dim"]:
        """Query vectors of length 1."""
        made = (described @ self.query_inside).relu() @ self.query_outside
        return nn.functional.normalize(made, dim=1)

    def keys(self) -> Float[Tensor, "states_and_bias directed"]:
        """What the output layer has in the column of each step, its bias last."""
        return ((self.described @ self.key_inside).relu() @ self.key_outside).T

    def episode(self, data: DrumData, place: Place) -> Episode:
        """What a step of training does without: some relations for `STEPS` steps, and some rows this once."""
        part = place.epoch, place.step // STEPS
        if self._hidden is None or self._hidden[0] != part:
            self._hidden = part, self._hiding(data, *part)
        kept = generator(self.seed, "looked up", place.epoch, place.step).random(data.num_relations)
        whole, looked_up = self._hidden[1], torch.from_numpy(np.tile(kept >= self.config.lookup_dropout, 2))
        return Episode(whole.described, looked_up.to(whole.hidden.device) & ~whole.hidden, whole.hidden)

    def _hiding(self, data: DrumData, epoch: int, part: int) -> Episode:
        assert self._describer is not None, "call describe() before training"
        draws, count = generator(self.seed, "hidden relations", epoch, part), data.num_relations
        hidden, described = draws.random(count) < self.config.hidden_share, self.described.clone()
        for relation in np.flatnonzero(hidden).tolist():
            facts = data.known[data.known[:, 1] == relation][:, [0, 2]].astype(np.int64)
            few = FEW[int(draws.integers(len(FEW)))]
            some = facts[draws.permutation(len(facts))[:few]]
            row = self._describer.described(some, data.names[relation], relation)
            described[[relation, relation + count]] = self._scaled(row[None])
        both = torch.from_numpy(np.tile(hidden, 2)).to(self.scale.device)
        return Episode(described, ~both, both)

    def own_steps(
        self, relations: Int[Tensor, " queries"], episode: Episode
    ) -> Bool[Tensor, "queries operators"]:
        """The two steps over a hidden relation's own edges, for its own queries: an unseen one has few or none."""
        count = len(self.described) // 2
        own = torch.zeros(len(relations), 2 * count + 1, dtype=torch.bool, device=relations.device)
        rows = episode.hidden[relations].nonzero()[:, 0]
        own[rows, relations[rows]] = True
        own[rows, (relations[rows] + count) % (2 * count)] = True
        return own


def _glorot(seed: int, name: str, inside: int, outside: int) -> Float[Tensor, "inside outside"]:
    return uniform(seed, name, inside, outside, bound=(6 / (inside + outside)) ** 0.5)
