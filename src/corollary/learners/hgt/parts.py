"""Batches of sampled training: each draws a part of the graph and asks for some of its edges.

What is asked carries no message in its own part, nor does what says the same. Candidates are drawn as in exact training,
and those outside the part are left out: the loss compares with nodes that have embeddings, so it favours well linked
ones. That is one reason why figures of sampled training are called that.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from corollary.graph.sampling import EdgeSampler, NeighbourSampler, Part
from corollary.learners.hgt.config import SamplingConfig
from corollary.learners.hgt.questions import Asked, Links, mixed
from corollary.learners.protocol import Place


class Parts:
    """What parts are drawn from; made once for a training."""

    def __init__(self, config: SamplingConfig, links: Links) -> None:
        self.config, self.links = config, links
        ends = (links.heads, links.relations, links.tails)
        self.edges = EdgeSampler(links.links, *ends, links.graph.num_relations)
        self.neighbours = NeighbourSampler(links.links) if config.name == "neighbors" else None

    def asked(self, place: Place) -> tuple[Int[np.ndarray, " drawn"], Int[np.ndarray, " asked"]]:
        """Triples that a part is made of (edges) or around (neighbors), and those it asks for, ascending."""
        config, links = self.config, self.links
        where = (place.epoch, place.step)
        if config.name == "neighbors":
            each = max(1, config.node_batch_size // (2 * max(1, int(links.asked.sum()))))
            drawn = self.edges.draw(each, place.seed, *where)
            drawn = np.sort(drawn[links.asked[links.relations[drawn]]])
            return drawn, drawn
        drawn = self.edges.draw(config.edge_sample_size, place.seed, *where)
        fold = mixed(links.pairs[drawn], place.seed, place.epoch) % np.uint64(links.config.folds)
        chosen = (fold == np.uint64(place.step % links.config.folds)) & links.asked[links.relations[drawn]]
        return drawn, np.sort(drawn[chosen])

    def make(self, place: Place) -> Asked:
        """One batch."""
        drawn, asked = self.asked(place)
        hidden = self.links.hidden(asked)
        if self.neighbours is None:
            part = self.edges.part(drawn, hidden)
        else:
            seeds = np.unique(np.concatenate([self.links.heads[asked], self.links.tails[asked]]))
            fan_outs = self.config.num_neighbors
            part = self.neighbours.part(seeds, fan_outs, hidden, place.seed, place.epoch, place.step)
        return self.batch(part, asked, place)

    def batch(self, part: Part, asked: Int[np.ndarray, " asked"], place: Place) -> Asked:
        """The questions of a part, with rows of the part."""
        questions = self.links.questions(asked, place, part.local)
        rows = torch.from_numpy(part.rows.astype(np.int64))
        return Asked(questions, asked, place, part.links, None, rows)


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
