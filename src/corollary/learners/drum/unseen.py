"""A trained DRUM with generated queries on relations that its training did not see.

A relation's query vectors and operator keys are made from its description; where facts of it are known, the vectors
alone are moved so that those facts come out, each without its own edge. All other weights stay.
"""

import numpy as np
import torch
from jaxtyping import Int
from pydantic import Field, PositiveFloat

from corollary.config import Config
from corollary.learners.drum.batches import batch_of
from corollary.learners.drum.data import DrumData
from corollary.learners.drum.learner import Drum
from corollary.learners.protocol import Place
from corollary.randomness import generator

_MOST_FACTS = 64  # of each new relation, that its vectors are moved by


class AdaptingConfig(Config):
    """How the query vectors of unseen relations are moved by their facts."""

    steps: int = Field(50, ge=0)
    """Steps of Adam; 0: as generated."""
    lr: PositiveFloat = 0.05
    """Learning rate."""


def extended(learner: Drum, rows: Int[np.ndarray, " relations"], data: DrumData) -> Drum:
    """The same weights on another graph, which has all of the learner's relations and others.

    Args:
        rows: number of each of the learner's relations on the other graph.
        data: what is walked on there.

    Memory: the weights once more, with rows for the new relations.
    """
    entities = len(data.links.segments) - 1
    larger = Drum(
        learner.config, num_entities=entities, num_relations=data.num_relations, seed=0, device=learner.device
    )
    steps = torch.from_numpy(np.concatenate([rows, rows + data.num_relations]))
    operators = torch.cat([steps, torch.tensor([2 * data.num_relations])])
    values = dict(learner.named_parameters())
    with torch.no_grad():
        for name, part in larger.named_parameters():
            if name == "queries":
                part[steps] = values[name]
            elif name in ("output", "output_bias"):
                part[..., operators] = values[name]
            else:
                part.copy_(values[name])
    return larger.walk_on(data).eval()


def adapt(learner: Drum, config: AdaptingConfig) -> None:
    """Move the query vectors of the relations that the learner's data ask for, by at most 64 facts of each.

    Time: a step of training over all those facts for each step here.
    """
    data = learner.data
    assert data is not None
    if not len(data.triples) or not config.steps:
        return
    facts, at_once = _some_of_each(data.triples), learner.config.batch_size
    batches = [
        batch_of(learner.config, data, facts[first : first + at_once], Place(0, 0, 0)).to(learner.device)
        for first in range(0, len(facts), at_once)
    ]
    relations = torch.cat([batch.relations for batch in batches]).unique()
    moved = torch.zeros_like(learner.queries[relations], requires_grad=True)
    start, optimizer = learner.queries.detach().clone(), torch.optim.Adam([moved], lr=config.lr)
    for _ in range(config.steps):
        gradient = torch.zeros_like(start)
        for batch in batches:
            (part,) = torch.autograd.grad(learner.loss(batch), [learner.queries])
            gradient += part * (len(batch) / (2 * len(facts)))
        moved.grad = gradient[relations]
        optimizer.step()
        with torch.no_grad():
            learner.queries.copy_(start)
            learner.queries[relations] += moved


def _some_of_each(triples: Int[np.ndarray, "n 3"]) -> Int[np.ndarray, "m 3"]:
    """At most `_MOST_FACTS` of each relation, drawn where there are more."""
    kept = []
    for relation in np.unique(triples[:, 1]).tolist():
        rows = np.flatnonzero(triples[:, 1] == relation)
        drawn = generator(0, "facts of an unseen relation", relation).permutation(len(rows))[:_MOST_FACTS]
        kept.append(rows[np.sort(drawn)])
    return triples[np.sort(np.concatenate(kept))]
