"""Batches of sampled training: each draws a part of the graph and asks for some of its edges.

What is asked carries no message in its own part, nor does what says the same. Candidates are drawn as in exact training,
and those outside the part are left out: the loss compares with nodes that have embeddings, so it favours well linked
ones. That is one reason why figures of sampled training are called that.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt

from corollary.graph.sampling import BudgetSampler, EdgeSampler, NeighbourSampler, Part
from corollary.learners.hgt.config import SamplingConfig
from corollary.learners.hgt.questions import Asked, Links, WholeGraph, mixed
from corollary.learners.protocol import Place


class Parts:
    """What parts are drawn from; made once for a training."""

    def __init__(self, config: SamplingConfig, links: Links) -> None:
        self.config, self.links = config, links
        ends = (links.heads, links.relations, links.tails)
        self.edges = EdgeSampler(links.links, *ends, links.graph.num_relations)
        self._neighbours = NeighbourSampler(links.links) if config.name == "neighbors" else None
        self._budget = BudgetSampler(links.links) if config.name == "budget" else None

    def make(self, place: Place) -> Asked:
        """One batch."""
        if self.config.name == "edges":
            part, asked, hidden = self._drawn(place)
        else:
            part, asked, hidden = self._around(place)
        questions = self.links.questions(asked, hidden, place, part.local)
        rows = torch.from_numpy(part.rows.astype(np.int64))
        return Asked(questions, asked, place, part.links, None, rows)

    def _drawn(self, place: Place) -> tuple[Part, Int[np.ndarray, " asked"], UInt[np.ndarray, " triples"]]:
        """Drawn edges; one fold of them is asked for, and hidden."""
        config, links = self.config, self.links
        drawn = self.edges.draw(config.edge_sample_size, place.seed, place.epoch, place.step)
        fold = mixed(links.pairs[drawn], place.seed, place.epoch) % np.uint64(links.config.folds)
        chosen = (fold == np.uint64(place.step % links.config.folds)) & links.asked[links.relations[drawn]]
        asked = np.sort(drawn[chosen])
        hidden = links.hidden(asked)
        return self.edges.part(drawn, hidden), asked, hidden

    def _around(self, place: Place) -> tuple[Part, Int[np.ndarray, " asked"], UInt[np.ndarray, " triples"]]:
        """What lies around both ends of edges that are asked for, and hidden."""
        config, links = self.config, self.links
        where = (place.seed, place.epoch, place.step)
        each = max(1, config.node_batch_size // (2 * max(1, int(links.asked.sum()))))
        drawn = self.edges.draw(each, *where)
        asked = np.sort(drawn[links.asked[links.relations[drawn]]])
        hidden = links.hidden(asked)
        seeds = np.unique(np.concatenate([links.heads[asked], links.tails[asked]]))
        if self._neighbours is not None:
            return self._neighbours.part(seeds, config.num_neighbors, hidden, *where), asked, hidden
        assert self._budget is not None
        return self._budget.part(seeds, config.width, config.rounds, hidden, *where), asked, hidden


class DrawnParts(Sequence[Asked]):
    """The batches of one epoch."""

    def __init__(self, parts: Parts, *, seed: int, epoch: int) -> None:
        self._parts, self._seed, self._epoch = parts, seed, epoch

    def __len__(self) -> int:
        return self._parts.config.batches

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._parts.make(Place(self._seed, self._epoch, number))


def epoch_batches(links: Links, sampling: SamplingConfig, *, seed: int, epoch: int) -> Sequence[Asked]:
    """The batches of one epoch as training takes them: over the whole graph, or over drawn parts."""
    if sampling.name == "none":
        return WholeGraph(links, seed=seed, epoch=epoch)
    return DrawnParts(Parts(sampling, links), seed=seed, epoch=epoch)
